"""The curve as SVG text: pure, arrays in, text out.

Marks are told apart by shape first and colour second. A failed evaluation is a gap in line and band, never
a zero;
points of different segments are not joined.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from rm_monitor import words
from rm_monitor.report.style import SVG
from rm_monitor.types import Best, Estimate, EvalPoint, Verdict

__all__ = ["Frame", "change_panel", "level_panel", "standalone"]


@dataclass(frozen=True, slots=True)
class Frame:
    """Where data coordinates lie in a picture.

    Attributes:
        width: Of the picture, in pixels.
        height: Likewise.
        x: Lowest and highest step.
        y: Lowest and highest value.
    """

    width: int
    height: int
    x: tuple[float, float]
    y: tuple[float, float]
    left: int = 52
    right: int = 12
    top: int = 12
    bottom: int = 26

    def at(self, step: float, value: float) -> tuple[float, float]:
        """Pixels of a point."""
        u = (step - self.x[0]) / ((self.x[1] - self.x[0]) or 1.0)
        v = (value - self.y[0]) / ((self.y[1] - self.y[0]) or 1.0)
        return (
            round(self.left + u * (self.width - self.left - self.right), 1),
            round(self.height - self.bottom - v * (self.height - self.top - self.bottom), 1),
        )


def level_panel(
    curve: Sequence[EvalPoint],
    verdict: Verdict,
    best: Best | None,
    metric: str,
    *,
    width: int = 960,
    height: int = 260,
) -> str:
    """The headline metric with its 95 % band, the best as a star, alarms as triangles, gaps as gaps."""
    shown = [p for p in curve if metric in p.metrics and math.isfinite(p.metrics[metric].value)]
    if not shown:
        return ""
    estimates = [p.metrics[metric] for p in shown]
    lows = [e.low if math.isfinite(e.low) else e.value for e in estimates]
    highs = [e.high if math.isfinite(e.high) else e.value for e in estimates]
    half = 0.5 if words.is_share(metric) else float(np.mean([e.value for e in estimates]))
    pad = 0.05 * ((max(*highs, half) - min(*lows, half)) or 1.0)
    low, high = min(*lows, half) - pad, max(*highs, half) + pad
    if words.is_share(metric):
        low, high = max(low, 0.0), min(high, 1.0)
    frame = Frame(width, height, (float(curve[0].step), float(curve[-1].step)), (low, high))
    parts = [*_axes(frame, metric)]
    if words.is_share(metric):
        (x0, y0), (x1, _) = frame.at(frame.x[0], 0.5), frame.at(frame.x[1], 0.5)
        parts.append(f'<line class="half" x1="{x0}" y1="{y0}" x2="{x1}" y2="{y0}" stroke-dasharray="3 3"/>')
    for point in curve:
        if point.status in ("failed", "skipped"):
            x, y = frame.at(point.step, low)
            parts.append(f'<text class="gap" x="{x}" y="{y - 4}" text-anchor="middle">×</text>')
    for group in _unbroken(curve, metric):
        parts.append(_band(frame, group, metric))
        path = " ".join(f"{x},{y}" for x, y in (frame.at(p.step, p.metrics[metric].value) for p in group))
        parts.append(f'<polyline class="line" points="{path}"/>')
    tied = set(best.tied) if best else set()
    for point in shown:
        x, y = frame.at(point.step, point.metrics[metric].value)
        kind = "partial" if point.status == "partial" else "tied" if point.step in tied else "reading"
        parts.append(f'<circle class="{kind}" cx="{x}" cy="{y}" r="3.2"/>')
    if best is not None and any(p.step == best.step for p in shown):
        x, y = frame.at(best.step, best.value.value)
        parts.append(f'<text class="star" x="{x}" y="{y + 6}" text-anchor="middle">★</text>')
    if verdict.since is not None and verdict.state in ("warned", "degraded"):
        x, y = frame.at(verdict.since, high)
        mark = "▼" if verdict.state == "degraded" else "▽"
        parts.append(f'<text class="{verdict.state}" x="{x}" y="{y + 12}" text-anchor="middle">{mark}</text>')
    title = f"{words.label(metric)} by step, with 95 % intervals"
    return _svg(frame, parts, title)


def change_panel(
    changes: Sequence[tuple[int, Estimate]], metric: str, *, width: int = 960, height: int = 150
) -> str:
    """Paired change from the best checkpoint, a dot and a bar a step; never joined by a line."""
    known = [(s, e) for s, e in changes if math.isfinite(e.low) and math.isfinite(e.high)]
    if len(known) < 2:
        return ""
    low, high = min(0.0, *(e.low for _, e in known)), max(0.0, *(e.high for _, e in known))
    pad = 0.08 * ((high - low) or 1.0)
    frame = Frame(width, height, (float(changes[0][0]), float(changes[-1][0])), (low - pad, high + pad))
    (x0, y0), (x1, _) = frame.at(frame.x[0], 0.0), frame.at(frame.x[1], 0.0)
    parts = [*_axes(frame, metric, signed=True)]
    parts.append(f'<line class="half" x1="{x0}" y1="{y0}" x2="{x1}" y2="{y0}" stroke-dasharray="3 3"/>')
    for step, e in known:
        x, bottom = frame.at(step, e.low)
        _, top = frame.at(step, e.high)
        _, middle = frame.at(step, e.value)
        kind = "worse" if e.high < 0 else "same"
        parts.append(f'<line class="{kind}" x1="{x}" y1="{bottom}" x2="{x}" y2="{top}"/>')
        parts.append(f'<circle class="{kind}" cx="{x}" cy="{middle}" r="3"/>')
    return _svg(frame, parts, f"change of the {words.label(metric)} from the best step, paired by prompt")


def standalone(picture: str) -> str:
    """A panel as a file of its own, colours included: for a README or a model card."""
    head, _, rest = picture.partition(">")
    return f'{head}><style>{SVG}</style><rect width="100%" height="100%" fill="#fff"/>{rest}'


def _unbroken(curve: Sequence[EvalPoint], metric: str) -> Iterator[list[EvalPoint]]:
    """Runs of neighbouring points of one segment."""
    group: list[EvalPoint] = []
    for point in curve:
        known = metric in point.metrics and math.isfinite(point.metrics[metric].value)
        if group and (not known or point.segment != group[-1].segment):
            yield group
            group = []
        if known:
            group.append(point)
    if group:
        yield group


def _band(frame: Frame, group: Sequence[EvalPoint], metric: str) -> str:
    known = [(p.step, p.metrics[metric]) for p in group if math.isfinite(p.metrics[metric].low)]
    if len(known) == 1:
        step, e = known[0]
        (x, a), (_, b) = frame.at(step, e.low), frame.at(step, e.high)
        return f'<line class="whisker" x1="{x}" y1="{a}" x2="{x}" y2="{b}"/>'
    over = [frame.at(step, e.high) for step, e in known]
    under = [frame.at(step, e.low) for step, e in reversed(known)]
    return f'<polygon class="band" points="{" ".join(f"{x},{y}" for x, y in [*over, *under])}"/>'


def _axes(frame: Frame, metric: str, *, signed: bool = False) -> Iterator[str]:
    for value in _ticks(*frame.y):
        x, y = frame.at(frame.x[0], value)
        text = (
            (f"{100 * value:+.0f}" if signed else f"{100 * value:.0f}%")
            if words.is_share(metric)
            else f"{value:.2g}"
        )
        right = frame.width - frame.right
        yield f'<line class="grid" x1="{x}" y1="{y}" x2="{right}" y2="{y}"/>'
        yield f'<text class="tick" x="{x - 6}" y="{y + 4}" text-anchor="end">{text.replace("-", "−")}</text>'
    for step in _ticks(*frame.x):
        x, y = frame.at(step, frame.y[0])
        yield f'<text class="tick" x="{x}" y="{y + 16}" text-anchor="middle">{step:g}</text>'


def _ticks(low: float, high: float) -> list[float]:
    span = (high - low) or 1.0
    size = 10 ** math.floor(math.log10(span / 4))
    size = next(size * m for m in (1, 2, 5, 10) if span / (size * m) <= 5)
    first = math.ceil(low / size)
    return [round(i * size, 10) for i in range(first, math.floor(high / size) + 1)]


def _svg(frame: Frame, parts: Sequence[str], title: str) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {frame.width} {frame.height}" '
        f'role="img" aria-label="{title}">'
        f"<title>{title}</title>{''.join(parts)}</svg>"
    )
