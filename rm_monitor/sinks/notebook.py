"""One card under a notebook's cell, updated after each evaluation; IPython is used, never needed."""

from __future__ import annotations

import sys
from typing import Any

from rm_monitor import messages
from rm_monitor.curve.metrics import HEADLINES
from rm_monitor.messages import page as sentences
from rm_monitor.report.card import card, words_card
from rm_monitor.text.escape import for_html
from rm_monitor.types import EvalPoint, Update, Verdict

__all__ = ["NotebookSink", "in_notebook"]


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook, which can show HTML and change it later."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell is not None and getattr(shell, "kernel", None) is not None


class NotebookSink:
    """Shows the card once and updates it, so that forty evaluations are one output and not forty.

    It also lets `Verdict` and `EvalPoint` show themselves as a card when they end a cell.
    """

    def __init__(self) -> None:
        self._shown: Any = None
        teach()

    def show(self, update: Update) -> None:
        """Show or update; it holds no text of any model."""
        from IPython.display import HTML, display  # type: ignore[import-not-found, unused-ignore]  # noqa: PLC0415  only in a notebook, where it is loaded

        html = HTML(card(update.curve, update.verdict, update.best, update.metric))
        if self._shown is None:
            self._shown = display(html, display_id=True)
        else:
            self._shown.update(html)


def teach() -> None:
    """Tell IPython how values of ours look; they themselves know nothing of pages."""
    shell = sys.modules["IPython"].get_ipython()
    html = shell.display_formatter.formatters["text/html"]
    html.for_type(Verdict, lambda verdict: words_card(verdict, None, _metric(verdict.value)))
    html.for_type(EvalPoint, point_card)


def point_card(point: EvalPoint) -> str:
    """One evaluation: its sentence, and its metrics with their intervals."""
    metric = next((m for m in HEADLINES if m in point.metrics), HEADLINES[0])
    said = sentences.reading(point, metric, state=None, best=None, change=None)
    rows = "".join(
        f'<tr><td title="{for_html(name)}">{for_html(messages.label(name))}</td>'
        f"<td>{messages.number(e.value, name)}</td>"
        f"<td>{for_html(messages.interval(e, name))}</td></tr>"
        for name, e in point.metrics.items()
        if "@" not in name
    )
    table = f"<details><summary>all metrics</summary><table>{rows}</table></details>" if rows else ""
    return f"<div><p>{for_html(said)}</p>{table}</div>"


def _metric(value: Any) -> str:
    """A share, unless the value cannot be one."""
    return "win_prob" if value is None or 0 <= value.value <= 1 else "reward"
