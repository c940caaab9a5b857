"""One curve: a line and its band, broken where a number is missing or the segment changes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from rm_monitor.report.frame import Frame
from rm_monitor.report.view import known
from rm_monitor.types import EvalPoint

__all__ = ["band", "line", "spark", "unbroken"]


def unbroken(curve: Sequence[EvalPoint], metric: str) -> Iterator[list[EvalPoint]]:
    """Stretches of neighbouring points of one segment that have a number."""
    group: list[EvalPoint] = []
    for point in curve:
        has = known(point, metric)
        if group and (not has or point.segment != group[-1].segment):
            yield group
            group = []
        if has:
            group.append(point)
    if group:
        yield group


def line(frame: Frame, group: Sequence[EvalPoint], metric: str, kind: str = "ln") -> str:
    """Straight from reading to reading: nothing is smoothed. A single reading has no line."""
    if len(group) < 2:
        return ""
    spots = frame.spots([p.step for p in group], [p.metrics[metric].value for p in group])
    return f'<path class="{kind}" d="M{"L".join(f"{x} {y}" for x, y in spots)}"/>'


def band(frame: Frame, group: Sequence[EvalPoint], metric: str) -> str:
    """The 95 % interval of each reading as a ribbon; of a lone reading, as a whisker."""
    ends = [(p.step, p.metrics[metric]) for p in group if math.isfinite(p.metrics[metric].low)]
    if not ends:
        return ""
    if len(ends) == 1:
        step, e = ends[0]
        return f'<path class="whisk" d="M{frame.column(step)} {frame.line(e.low)}V{frame.line(e.high)}"/>'
    steps = [step for step, _ in ends]
    over = frame.spots(steps, [e.high for _, e in ends])
    under = frame.spots(steps[::-1], [e.low for _, e in reversed(ends)])
    return f'<path class="band" d="M{"L".join(f"{x} {y}" for x, y in [*over, *under])}Z"/>'


def spark(values: Sequence[float], best: int | None, *, width: int = 80, height: int = 20) -> str:
    """A prompt's own win probability over all evaluations, from 0 at the foot to 1 at the top.

    Args:
        values: One an evaluation; nan is a gap.
        best: Which of them is the best's.
        width: Of the picture.
        height: Of the picture.
    """
    step = (width - 4) / max(len(values) - 1, 1)
    paths, pen = [], "M"
    for i, value in enumerate(values):
        if math.isfinite(value):
            level = min(max(value, 0.0), 1.0)
            paths.append(f"{pen}{2 + i * step:.0f} {height - 2 - level * (height - 4):.0f}")
            pen = "L"
        else:
            pen = "M"
    mark = "" if best is None else f'<path class="bestline" d="M{2 + best * step:.0f} 1V{height - 1}"/>'
    return (
        f'<svg class="spark" viewBox="0 0 {width} {height}" aria-hidden="true">{mark}'
        f'<path class="ln" d="{"".join(paths)}"/></svg>'
    )
