"""The card: words and one small picture, a few kilobytes, no text of any model in it.

It is shown inside pages of others (a notebook, a W&B panel), on a ground we do not know. So there is no style
sheet, no script and no id: colours that read on white and on black, and the reader's own text colour.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from rm_monitor import messages
from rm_monitor.curve.curve import Curve
from rm_monitor.messages import page as sentences
from rm_monitor.report.chart import CARD, chart
from rm_monitor.report.sections.opening import MARKS
from rm_monitor.report.view import RunView
from rm_monitor.text.escape import for_html
from rm_monitor.types import Best, EvalPoint, Verdict

__all__ = ["card", "inlined", "words_card"]

_BLUE, _RED, _AMBER = "#2b7fd0", "#e0523f", "#b07d12"
_LOOKS = {
    "band": f'fill="{_BLUE}" fill-opacity=".2"',
    "whisk": f'stroke="{_BLUE}" fill="none"',
    "ln": f'stroke="{_BLUE}" stroke-width="1.8" fill="none"',
    "ln old": 'stroke="currentColor" stroke-opacity=".5" fill="none"',
    "pt": f'fill="{_BLUE}"',
    "pt tied": f'fill="{_BLUE}"',
    "pt old": 'fill="currentColor" fill-opacity=".5"',
    "part": 'fill="none" stroke="currentColor"',
    "star": 'fill="currentColor"',
    "deg": f'fill="{_RED}"',
    "wrn": f'fill="none" stroke="{_AMBER}" stroke-width="1.8"',
    "whisk deg": f'stroke="{_RED}" fill="none"',
    "whisk wrn": f'stroke="{_AMBER}" fill="none"',
    "gap": 'fill="currentColor" fill-opacity=".12"',
    "fail": 'stroke="currentColor" stroke-width="1.8" fill="none"',
    "fine": 'fill="currentColor" fill-opacity=".6"',
    "tiebar": 'stroke="currentColor" stroke-width="4" fill="none"',
    "grid": 'stroke="currentColor" stroke-opacity=".15" fill="none"',
    "ref": 'stroke="currentColor" stroke-opacity=".6" stroke-dasharray="4 3" fill="none"',
    "bestline": 'stroke="currentColor" stroke-dasharray="1 3" fill="none"',
    "segline": 'stroke="currentColor" fill="none"',
    "resume": 'stroke="currentColor" fill="none"',
    "ax": 'fill="currentColor" fill-opacity=".75" font-size="12"',
    "lab": 'fill="currentColor" font-size="13" font-weight="600"',
}
_FRAME = "<style>body{margin:0;font:14px/1.5 system-ui,sans-serif;color:#111;background:#fff}p{margin:.2em 0}</style>"


def card(
    curve: Sequence[EvalPoint], verdict: Verdict, best: Best | None, metric: str, *, framed: bool = False
) -> str:
    """HTML for W&B and notebooks; safe to show anywhere.

    Args:
        curve: Points in order of step.
        verdict: What they say.
        best: The best checkpoint on disk.
        metric: The headline metric.
        framed: It stands in a frame of its own, as in W&B, where nobody else sets fonts and ground.
    """
    run = RunView(name="", metric=metric, curve=Curve(curve), verdict=verdict, best=best)
    picture = inlined(chart([run], CARD, titles=False))
    return (_FRAME if framed else "") + words_card(verdict, best, metric, picture=picture)


def words_card(verdict: Verdict, best: Best | None, metric: str, *, picture: str = "") -> str:
    """State, claim, why, what to do."""
    state, claim = sentences.split(messages.headline(verdict))
    do = (
        ""
        if best is None and not picture
        else f"<p>{for_html(messages.todo(verdict, best, metric=metric))}</p>"
    )
    return (
        f"<div><p><b>{MARKS[verdict.state]} {for_html(state)} {for_html(claim)}</b></p>"
        f"<p>{for_html(messages.why(verdict, metric=metric))}</p>{picture}"
        f"{do}</div>"
    )


def inlined(svg: str) -> str:
    """Classes as presentation attributes, for a place without our style sheet."""

    def look(found: re.Match[str]) -> str:
        names = [name for name in found.group(1).split() if name not in ("focus", "halo")]
        return _LOOKS.get(" ".join(names), "")

    svg = re.sub(r'class="([^"]*)"', look, svg)
    return svg.replace("<svg ", '<svg width="640" font-family="system-ui,sans-serif" ', 1)
