"""The curve card: words and one picture, a few kilobytes, no text of any model in it."""

from __future__ import annotations

from collections.abc import Sequence

from rm_monitor import words
from rm_monitor.escape import for_html
from rm_monitor.report.style import CARD
from rm_monitor.report.svg import level_panel
from rm_monitor.types import Best, EvalPoint, Verdict

__all__ = ["card"]


def card(curve: Sequence[EvalPoint], verdict: Verdict, best: Best | None, metric: str) -> str:
    """HTML for W&B and notebooks; safe to show anywhere."""
    picture = level_panel(curve, verdict, best, metric, width=640, height=240)
    return (
        f"{CARD}<p><b>{for_html(words.headline(verdict))}</b></p><p>"
        f"{for_html(words.why(verdict, metric=metric))}</p>"
        f"{picture}<p>{for_html(words.todo(verdict, best))}</p>"
    )
