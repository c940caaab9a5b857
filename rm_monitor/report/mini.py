"""Small multiples: one little picture a tag, a tell or a judge, all of a kind on one scale."""

from __future__ import annotations

from collections.abc import Iterator

from rm_monitor import messages
from rm_monitor.report.curves import band, line, unbroken
from rm_monitor.report.frame import Frame, number
from rm_monitor.report.view import RunView
from rm_monitor.text.escape import for_html
from rm_monitor.types import EvalPoint

__all__ = ["mini"]


def mini(
    run: RunView,
    metric: str,
    y: tuple[float, float],
    *,
    title: str,
    caption: str,
    behind: str = "",
    width: int = 220,
    height: int = 126,
) -> str:
    """A figure with its name, its words and its picture.

    Args:
        run: The run.
        metric: What is drawn.
        y: Range, shared by pictures that are to be compared.
        title: Plain text.
        caption: Plain text.
        behind: A metric drawn in grey behind, for comparison.
        width: Of the picture.
        height: Of the picture.
    """
    points = run.curve.segment()
    steps = [p.step for p in run.curve]
    frame = Frame(40, 8, width - 6, height - 18, (min(steps), max(steps)), y)
    parts = list(_frame(frame, metric))
    best = run.best_step
    if best is not None:
        parts.append(f'<path class="bestline" d="M{frame.column(best)} {frame.top:g}V{frame.bottom:g}"/>')
    if behind:
        parts += [line(frame, group, behind, "ctx") for group in unbroken(points, behind)]
    groups = list(unbroken(points, metric))
    parts += [band(frame, group, metric) for group in groups]
    parts += [line(frame, group, metric) for group in groups]
    parts += [_lone(frame, group[0], metric) for group in groups if len(group) == 1]
    return (
        f'<figure class="mini"><figcaption><b>{for_html(title)}</b><span>{for_html(caption)}</span></figcaption>'
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{for_html(title)} by step: {for_html(caption)}">'
        f"{''.join(parts)}</svg></figure>"
    )


def _lone(frame: Frame, point: EvalPoint, metric: str) -> str:
    x, y = frame.at(point.step, point.metrics[metric].value)
    return f'<circle class="pt tied" cx="{x}" cy="{y}" r="2"/>'


def _frame(frame: Frame, metric: str) -> Iterator[str]:
    """The ends of both axes are enough in a small picture."""
    low, high = frame.y
    for value in (low, high):
        at = frame.line(value)
        yield f'<path class="grid" d="M{number(frame.left)} {at}H{number(frame.right)}"/>'
        yield f'<text class="ax" x="{number(frame.left - 4)}" y="{at + 4:.1f}" text-anchor="end">{_end(value, metric)}</text>'
    if messages.against_references(metric) and low < 0.5 < high:
        yield f'<path class="ref" d="M{number(frame.left)} {frame.line(0.5)}H{number(frame.right)}"/>'
    for step, anchor in ((frame.x[0], "start"), (frame.x[1], "end")):
        yield f'<text class="ax" x="{frame.column(step)}" y="{number(frame.bottom + 14)}" text-anchor="{anchor}">{int(step)}</text>'
        if frame.x[0] == frame.x[1]:
            return


def _end(value: float, metric: str) -> str:
    text = (
        f"{100 * value:.0f}%"
        if messages.is_share(metric)
        else f"{value:.2g}"
        if abs(value) < 10
        else f"{value:.0f}"
    )
    return text.replace("-", "−")
