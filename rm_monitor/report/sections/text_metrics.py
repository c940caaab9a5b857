"""What changed about the answers besides what the judge thinks of them."""

from __future__ import annotations

from collections.abc import Iterator

from rm_monitor import messages
from rm_monitor.curve.metrics import METRICS
from rm_monitor.messages import page as sentences
from rm_monitor.report.frame import even, padded
from rm_monitor.report.mini import mini
from rm_monitor.report.view import RunView, known
from rm_monitor.text.escape import prose
from rm_monitor.types import Estimate

__all__ = ["text_metrics"]


def text_metrics(run: RunView) -> Iterator[str]:
    """One picture a metric; one that never moved from 0 is named, not drawn."""
    there = [
        name
        for name, m in METRICS.items()
        if m.title and name != run.metric and any(known(p, name) for p in run.shown)
    ]
    drawn = [m for m in there if any(p.metrics[m].value != 0 for p in run.shown if known(p, m))]
    if not there:
        return
    yield (
        '<section><h2>What changed about the answers</h2><p class="note">The first evaluation → the best → now. ▽ marks a change since the best '
        "that is larger than chance. None of these alone says “degraded”.</p>"
    )
    said = [messages.note(s, metric=run.metric) for s in run.verdict.signals if not messages.is_loud(s)]
    yield from (f'<p class="drift">{prose(text)}</p>' for text in said)
    yield '<div class="grid8">'
    for metric in drawn:
        estimates = [p.metrics[metric] for p in run.shown if known(p, metric)]
        y = padded(estimates, share=messages.is_share(metric))
        if min(e.value for e in estimates) >= 0:
            y = (max(y[0], 0.0), y[1])
        y = (max(y[0], 0.0), min(y[1], 1.0)) if messages.is_share(metric) else even(*y)
        yield mini(run, metric, y, title=METRICS[metric].title, caption=_caption(run, metric))
    yield "</div>"
    flat = [METRICS[m].title for m in there if m not in drawn]
    if flat:
        yield f'<p class="note">Always 0: {", ".join(flat).lower()}.</p>'
    yield "</section>"


def _caption(run: RunView, metric: str) -> str:
    points = [p for p in run.shown if known(p, metric)]
    best = run.at(run.best_step)
    middle = best if best is not None and known(best, metric) else points[-1]
    start, best_text, now = (_plain(p.metrics[metric].value, metric) for p in (points[0], middle, points[-1]))
    text = sentences.caption(start, best_text, now)
    return f"{text} ▽" if _moved(run.changes(metric), points[-1].step) else text


def _moved(changes: dict[int, Estimate], step: int) -> bool:
    change = changes.get(step)
    return change is not None and (change.low > 0 or change.high < 0)


def _plain(value: float, metric: str) -> str:
    if messages.is_share(metric):
        return f"{100 * value:.0f}%"
    return f"{value:.0f}" if abs(value) >= 20 else f"{value:.1f}" if abs(value) >= 1 else f"{value:.2f}"
