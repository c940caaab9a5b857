"""The chart: levels with their band, the state of each evaluation, the paired change from the best.

Three panels over one axis of steps. "Worse or not" is read off the lower panel: its bars compare the same
prompts and hold all at once, while bands of the upper one may overlap although two checkpoints differ.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from rm_monitor import messages
from rm_monitor.messages import page as sentences
from rm_monitor.report import marks
from rm_monitor.report.curves import band, line, unbroken
from rm_monitor.report.frame import Frame, grid, number, padded, steps_axis
from rm_monitor.report.view import RunView, known
from rm_monitor.text.escape import for_html
from rm_monitor.types import Estimate, EvalPoint

__all__ = ["CARD", "NARROW", "WIDE", "Layout", "chart"]

_CHANGE = 118  # height of the lower panel
_RAIL = 66  # room for the row of states and its heading


@dataclass(frozen=True, slots=True)
class Layout:
    """Sizes of one drawing, in pixels.

    Attributes:
        name: Class of the drawing.
        width: Of the picture.
        left: Of the plots.
        right: Of the plots; names of runs stand to the right of it.
        level: Height of the upper panel.
        columns: Most ticks below.
    """

    name: str
    width: int
    left: float
    right: float
    level: int
    columns: int

    @property
    def labels(self) -> bool:
        """Whether there is room for names at the lines' ends."""
        return self.width - self.right > 60


WIDE = Layout("wid", 960, 54, 822, 262, 8)
NARROW = Layout("nar", 380, 40, 364, 210, 4)
CARD = Layout("card", 640, 44, 630, 150, 6)


def chart(runs: Sequence[RunView], layout: Layout, *, titles: bool = True) -> str:
    """The three panels as one picture; of several runs, the one in focus is drawn whole.

    Args:
        runs: At least one.
        layout: Its size.
        titles: Lay a column over each evaluation, with its sentence, for a pointer to find.

    Returns:
        An empty text where there is no number at all.
    """
    shown = [p for run in runs for p in run.shown]
    if not shown:
        return ""
    metric = runs[0].metric
    steps = [float(p.step) for run in runs for p in run.curve]
    x = (min(steps), max(steps))
    share = messages.is_share(metric)
    half = messages.against_references(metric)
    always = [0.5] if half else []
    y = padded([p.metrics[metric] for p in shown], always=always, share=share)
    level = Frame(layout.left, 20, layout.right, 20 + layout.level, x, y)
    changes = [e for run in runs for e in run.headline_changes.values()]
    foot = level.bottom + _RAIL
    change = None
    if changes:
        foot += _CHANGE + 26
        change = Frame(layout.left, foot - _CHANGE, layout.right, foot, x, padded(changes, always=[0.0]))
    parts = [*grid(level, metric), *_columns(level, foot, layout)]
    if half:
        parts.append(f'<path class="ref" d="M{number(level.left)} {level.line(0.5)}H{number(level.right)}"/>')
    for k, run in enumerate(runs):
        parts += [f'<g class="run run{k}">', *_levels(run, k, level, foot), "</g>"]
    if layout.labels:
        parts += _names(runs, level, metric)
    parts += _heading(layout, level.bottom + 22, "State at each evaluation")
    for k, run in enumerate(runs):
        parts += [f'<g class="focus run{k}">', *_rail(run, level, level.bottom + 42), "</g>"]
    if change is not None:
        unit = ", in points" if share else ""
        of = f"step {runs[0].best_step}" if len(runs) == 1 else "the best checkpoint"
        parts += _heading(layout, change.top - 12, f"Change from {of}, same prompts{unit}")
        parts += grid(change, metric, signed=True, most=4)
        parts.append(
            f'<path class="ref" d="M{number(change.left)} {change.line(0.0)}H{number(change.right)}"/>'
        )
        for k, run in enumerate(runs):
            parts += [f'<g class="focus run{k}">', *_changes(run, k, change), "</g>"]
    for k, run in enumerate(runs if titles else ()):
        parts += [f'<g class="hits focus run{k}" data-run="{k}">', *_hits(run, level, foot, layout), "</g>"]
    if titles:
        parts.append(f'<path class="cursor" d="M0 {level.top}V{number(foot)}" visibility="hidden"/>')
    return _svg(layout, foot + 46, parts, metric)


def _columns(level: Frame, foot: float, layout: Layout) -> Iterator[str]:
    lower = Frame(level.left, level.top, level.right, foot, level.x, level.y)
    yield from steps_axis(lower, most=layout.columns, name="optimizer step")


def _heading(layout: Layout, y: float, text: str) -> list[str]:
    return [f'<text class="lab" x="{number(layout.left - 12)}" y="{number(y)}">{text}</text>']


# --------------------------------------------------------------------------- the upper panel


def _levels(run: RunView, k: int, frame: Frame, foot: float) -> Iterator[str]:
    latest = run.curve.segment_name
    tied = set(run.verdict.best.tied) if run.verdict.best else set()
    yield from (_gap(run, point, frame, foot) for point in run.curve if point.status in ("failed", "skipped"))
    yield from _boundaries(run, frame)
    groups = list(unbroken(run.curve, run.metric))
    for group in groups:
        if group[-1].segment == latest:
            yield band(frame, group, run.metric)
    for group in groups:
        yield line(frame, group, run.metric, "ln" if group[-1].segment == latest else "ln old")
    for point in run.shown:
        x, y = frame.at(point.step, point.metrics[run.metric].value)
        if point.step == run.best_step and point.segment == latest:
            continue
        if point.status == "partial":
            yield marks.diamond(x, y)
        else:
            old = "" if point.segment == latest else " old"
            yield marks.reading(x, y, k, f"pt{' tied' if point.step in tied else ''}{old}")
    yield from _best(run, frame)


def _best(run: RunView, frame: Frame) -> Iterator[str]:
    point = run.at(run.best_step)
    if point is None or not known(point, run.metric):
        return
    x, y = frame.at(point.step, point.metrics[run.metric].value)
    end = x > (frame.left + frame.right) / 2
    yield f'<path class="bestline focus" d="M{x} {frame.top - 4:g}V{y}"/>{marks.star(x, y, 7)}'
    yield (
        f'<text class="lab halo focus" x="{x + (-6 if end else 6):.1f}" y="{frame.top - 6:g}" '
        f'text-anchor="{"end" if end else "start"}">best: step {point.step}</text>'
    )


def _gap(run: RunView, point: EvalPoint, frame: Frame, foot: float) -> str:
    """A grey column: there is no number here."""
    width = min(max(_spacing(run, frame) * 0.5, 5.0), 12.0)
    x = frame.column(point.step) - width / 2
    return f'<rect class="gap focus" x="{x:.1f}" y="{frame.top:g}" width="{width:.1f}" height="{foot - frame.top:.1f}"/>'


def _boundaries(run: RunView, frame: Frame) -> Iterator[str]:
    """Two thin lines where a new segment begins; a tick on the axis where a process took over."""
    for before, after in pairwise(run.curve):
        if before.segment != after.segment:
            x = (frame.column(before.step) + frame.column(after.step)) / 2
            yield f'<path class="segline focus" d="M{x - 1.5:.1f} {frame.top:g}V{frame.bottom:g}M{x + 1.5:.1f} {frame.top:g}V{frame.bottom:g}"/>'
            yield f'<text class="ax halo focus" x="{x + 6:.1f}" y="{frame.bottom - 6:g}">new set-up</text>'
        elif before.attempt != after.attempt:
            x = (frame.column(before.step) + frame.column(after.step)) / 2
            yield f'<path class="resume focus" d="M{x:.1f} {frame.bottom - 5:g}V{frame.bottom + 3:g}"/>'


def _names(runs: Sequence[RunView], frame: Frame, metric: str) -> Iterator[str]:
    """Names at the lines' ends, moved apart where they would touch."""
    wanted: list[tuple[float, str, str]] = []
    if messages.against_references(metric):
        wanted.append((frame.line(0.5), "ax", "= the references"))
    if len(runs) > 1:
        for k, run in enumerate(runs):
            if run.shown:
                y = frame.line(run.shown[-1].metrics[metric].value)
                wanted.append((y, f"end run{k}t", run.name[:18]))
    last = -math.inf
    for y, kind, text in sorted(wanted):
        last = max(y, last + 16)
        yield f'<text class="{kind}" x="{number(frame.right + 10)}" y="{last + 4:.1f}">{for_html(text)}</text>'


# --------------------------------------------------------------------------- the row of states


def _rail(run: RunView, frame: Frame, y: float) -> Iterator[str]:
    latest = run.curve.segment_name
    for point in run.curve:
        x = frame.column(point.step)
        state = run.states.get(point.step) if point.segment == latest else None
        if point.status in ("failed", "skipped"):
            yield marks.cross(x, y)
        elif point.status == "partial":
            yield marks.diamond(x, y)
        elif point.step == run.best_step and point.segment == latest:
            yield marks.star(x, y, 6)
        elif state in ("degraded", "warned"):
            yield marks.triangle(x, y, "deg" if state == "degraded" else "wrn")
        else:
            yield f'<circle class="fine" cx="{x}" cy="{y:g}" r="2"/>'
    if run.verdict.best is not None:
        yield from _ties(run, frame, y + 12)


def _ties(run: RunView, frame: Frame, y: float) -> Iterator[str]:
    """A bar under the checkpoints tied with the best; the set may have holes."""
    best = run.verdict.best
    assert best is not None
    tied = {best.step, *best.tied}
    if len(tied) < 2:
        return
    half = min(_spacing(run, frame) / 2, 9.0)
    reach: list[tuple[float, float]] = []
    before = False
    for point in run.curve:
        if point.step in tied:
            x = frame.column(point.step)
            start = reach.pop()[0] if before else x - half
            reach.append((start, x + half))
        before = point.step in tied
    yield f'<path class="tiebar" d="{"".join(f"M{a:.1f} {y:g}H{b:.1f}" for a, b in reach)}"/>'


def _spacing(run: RunView, frame: Frame) -> float:
    columns = [frame.column(p.step) for p in run.curve]
    return min((b - a for a, b in pairwise(columns) if b > a), default=18.0)


# --------------------------------------------------------------------------- the lower panel


def _changes(run: RunView, k: int, frame: Frame) -> Iterator[str]:
    tied = set(run.verdict.best.tied) if run.verdict.best else set()
    for step, e in run.headline_changes.items():
        x, y = frame.at(step, e.value if math.isfinite(e.value) else 0.0)
        if step == run.best_step:
            yield marks.star(x, y, 6)
            continue
        if not math.isfinite(e.low):
            continue
        state = run.states.get(step)
        kind = {"degraded": " deg", "warned": " wrn"}.get(state or "", "")
        yield f'<path class="whisk{kind}" d="M{x} {frame.line(e.low)}V{frame.line(e.high)}"/>'
        if kind:
            yield marks.triangle(x, y, kind.strip(), 4.0)
        else:
            yield marks.reading(x, y, k, f"pt{' tied' if step in tied else ''}", 2.6)


# --------------------------------------------------------------------------- what the pointer finds


def _hits(run: RunView, frame: Frame, foot: float, layout: Layout) -> Iterator[str]:
    """A column for each evaluation; its title is what is read out, also without a script."""
    columns = [frame.column(p.step) for p in run.curve]
    edges = [frame.left, *((a + b) / 2 for a, b in pairwise(columns)), frame.right]
    for i, point in enumerate(run.curve):
        x = min(edges[i], columns[i] - 3)
        width = max(edges[i + 1] - x, 6.0)
        title = f"<title>{for_html(read_out(run, point))}</title>" if layout is WIDE else ""
        yield (
            f'<rect data-i="{i}" data-x="{columns[i]}" x="{x:.1f}" y="{frame.top:g}" width="{width:.1f}" '
            f'height="{foot - frame.top:.1f}">{title}</rect>'
        )


def read_out(run: RunView, point: EvalPoint) -> str:
    """One evaluation in one sentence."""
    change: Estimate | None = run.headline_changes.get(point.step)
    state = run.states.get(point.step) if point.segment == run.curve.segment_name else None
    return sentences.reading(point, run.metric, state=state, best=run.verdict.best, change=change)


def _svg(layout: Layout, height: float, parts: Sequence[str], metric: str) -> str:
    label = (
        f"{messages.label(metric).capitalize()} by optimizer step, with 95 % intervals; the state of each evaluation; "
        "the paired change from the best checkpoint. The same numbers are in the table below."
    )
    return (
        f'<svg class="{layout.name}" viewBox="0 0 {layout.width} {number(height)}" role="img" '
        f'aria-label="{for_html(label)}">{"".join(parts)}</svg>'
    )
