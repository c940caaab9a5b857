"""One card under a notebook's cell, updated after each evaluation; IPython is used, never needed."""

from __future__ import annotations

from typing import Any

from rm_monitor.report.card import card
from rm_monitor.report.notebook import in_notebook, teach
from rm_monitor.types import Update

__all__ = ["NotebookSink", "in_notebook"]


class NotebookSink:
    """Shows the card once and updates it, so that forty evaluations are one output and not forty.

    It also lets values of ours show themselves as a card when they end a cell.
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
