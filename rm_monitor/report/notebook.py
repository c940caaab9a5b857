"""How values of ours look when they end a cell; they themselves know nothing of pages."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

from rm_monitor import messages
from rm_monitor.curve.curve import Curve
from rm_monitor.curve.metrics import HEADLINES
from rm_monitor.messages import page as sentences
from rm_monitor.report.card import inlined
from rm_monitor.report.chart import CARD, chart
from rm_monitor.report.sections.opening import MARKS
from rm_monitor.report.view import RunView
from rm_monitor.text.escape import for_html, for_terminal
from rm_monitor.types import Best, Estimate, EvalPoint, Verdict

__all__ = ["curve_card", "in_notebook", "point_card", "teach"]


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook, which can show HTML and change it later."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell is not None and getattr(shell, "kernel", None) is not None


def teach() -> None:
    """Tell IPython how verdicts, points, curves, bests and estimates look, as HTML and as text."""
    formatters = sys.modules["IPython"].get_ipython().display_formatter.formatters
    html, text = formatters["text/html"], formatters.get("text/plain")
    html.for_type(Verdict, _verdict_card)
    html.for_type(EvalPoint, point_card)
    html.for_type(Curve, curve_card)
    html.for_type(Best, _best_card)
    html.for_type(Estimate, lambda estimate: f"<span>{for_html(str(estimate))}</span>")
    if text is not None:
        for kind in (Verdict, EvalPoint, Curve, Best, Estimate):
            text.for_type(kind, _printed)


def point_card(point: EvalPoint) -> str:
    """One evaluation: its sentence, and its metrics with their intervals."""
    said = sentences.reading(point, _headline([point]), state=None, best=None, change=None)
    rows = "".join(
        f'<tr><td title="{for_html(name)}">{for_html(messages.label(name))}</td>'
        f"<td>{messages.number(e.value, name)}</td>"
        f"<td>{for_html(messages.interval(e, name))}</td></tr>"
        for name, e in point.metrics.items()
        if "@" not in name
    )
    table = f"<details><summary>all metrics</summary><table>{rows}</table></details>" if rows else ""
    return f"<div><p>{for_html(said)}</p>{table}</div>"


def curve_card(curve: Sequence[EvalPoint]) -> str:
    """The points as a picture, and each as a sentence below it; what they say is the verdict's to tell."""
    points, metric = Curve(curve), _headline(curve)
    run = RunView(name="", metric=metric, curve=points, verdict=Verdict(), best=None)
    said = "".join(
        f"<li>{for_html(sentences.reading(p, metric, state=None, best=None, change=None))}</li>"
        for p in points
    )
    many = f"{len(points)} evaluation{'' if len(points) == 1 else 's'}"
    listed = f"<details><summary>as text</summary><ul>{said}</ul></details>" if said else ""
    return (
        f"<div><p><b>{for_html(messages.label(metric)).capitalize()}, {many}</b></p>"
        f"{inlined(chart([run], CARD, titles=False))}{listed}</div>"
    )


def _verdict_card(verdict: Verdict) -> str:
    """In the words it was given when it was made: it does not know of which metric it is."""
    said = messages.headline(verdict)
    rest = for_html(verdict.reason.removeprefix(said).strip())
    more = f"<p>{rest}</p>" if rest else ""
    return f"<div><p><b>{MARKS[verdict.state]} {for_html(said)}</b></p>{more}</div>"


def _best_card(best: Best) -> str:
    metric = _metric(best.value)
    where = f"<code>{for_html(best.checkpoint)}</code>" if best.checkpoint else "not on disk"
    return (
        f"<div><p><b>★ Best: step {best.step}</b>, {messages.number(best.value.value, metric)} "
        f"({for_html(messages.interval(best.value, metric))}): {where}</p><p>{for_html(messages.ties(best))}</p></div>"
    )


def _printed(value: Any, printer: Any, cycle: bool) -> None:
    text: Callable[[str], None] = printer.text
    if isinstance(value, EvalPoint):
        text(sentences.reading(value, _headline([value]), state=None, best=None, change=None))
    else:
        text("\n".join(for_terminal(line) for line in str(value).split("\n")))


def _headline(curve: Sequence[EvalPoint]) -> str:
    return next((m for m in HEADLINES for p in curve if m in p.metrics), HEADLINES[0])


def _metric(value: Estimate) -> str:
    """A share, unless the value cannot be one."""
    return "win_prob" if 0 <= value.value <= 1 else "reward"
