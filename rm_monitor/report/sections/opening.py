"""The verdict: state and claim, why, what to do; then what one should know when believing it."""

from __future__ import annotations

from collections.abc import Iterator

from rm_monitor import messages
from rm_monitor.messages import page as sentences
from rm_monitor.report.view import RunView
from rm_monitor.text.escape import for_html, prose

__all__ = ["MARKS", "mark", "opening"]

MARKS = {
    "degraded": "▼",
    "warned": "▽",
    "improving": "★",
    "steady": "●",
    "recovered": "○",
    "unknown": "×",
    "saturated": "…",
    "undecided": "…",
}


def mark(run: RunView) -> str:
    """The state's shape."""
    return MARKS.get(run.verdict.state, "●")


def opening(run: RunView, *, first: bool = True) -> Iterator[str]:
    """The box on top.

    Args:
        run: The run.
        first: Its claim is the page's heading; of further runs it is one level below.
    """
    verdict, metric = run.verdict, run.metric
    state, claim = sentences.split(messages.headline(verdict))
    level = "h1" if first else "h2"
    about = sentences.about(run.facts, metric)
    if about:
        yield f'<p class="about">{for_html(about)}</p>'
    yield f'<div class="verdict {verdict.state}">'
    yield f'<{level} class="claim"><span class="st">{mark(run)} {for_html(state)}</span> {for_html(claim)}</{level}>'
    why = messages.why(verdict, metric=metric)
    if why:
        yield f"<p>{prose(why)}</p>"
    yield f'<p class="do">{for_html(messages.todo(verdict, run.best, metric=metric))}</p></div>'
    loud = [messages.note(signal, metric=metric) for signal in verdict.signals if messages.is_loud(signal)]
    loud += _gaps(run)
    if loud:
        yield f'<div class="signal">{"".join(f"<p>{prose(text)}</p>" for text in loud)}</div>'


def _gaps(run: RunView) -> list[str]:
    """Why numbers are missing; of many gaps the latest."""
    said = sentences.gaps(run.curve)
    more = [f"{len(said) - 2} earlier gaps: see how this was made."] if len(said) > 3 else []
    return [*more, *(said[-2:] if more else said)]
