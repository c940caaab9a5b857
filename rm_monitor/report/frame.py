"""Where data coordinates lie in a picture, and the lines that help to read them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from rm_monitor import messages
from rm_monitor.types import Estimate

__all__ = ["Frame", "even", "grid", "number", "padded", "steps_axis", "ticks"]


@dataclass(frozen=True, slots=True)
class Frame:
    """A rectangle of a picture, and the data range it shows.

    Attributes:
        left: Pixels of its left edge.
        top: Of its upper edge.
        right: Of its right edge.
        bottom: Of its lower edge.
        x: Lowest and highest step.
        y: Lowest and highest value.
    """

    left: float
    top: float
    right: float
    bottom: float
    x: tuple[float, float]
    y: tuple[float, float]

    def at(self, step: float, value: float) -> tuple[float, float]:
        """Pixels of a point; a value outside the range lies on its edge, so that no mark leaves the frame."""
        return self.column(step), self.line(value)

    def column(self, step: float) -> float:
        """Pixels from the left."""
        return _between(step, *self.x, self.left, self.right)

    def line(self, value: float) -> float:
        """Pixels from the top."""
        return _between(value, *self.y, self.bottom, self.top)

    def spots(self, steps: Sequence[float], values: Sequence[float]) -> Iterator[tuple[float, float]]:
        """`at` of many points, which a long curve has."""
        return zip(
            _all_between(steps, *self.x, self.left, self.right),
            _all_between(values, *self.y, self.bottom, self.top),
            strict=True,
        )


def _between(value: float, low: float, high: float, a: float, b: float) -> float:
    """A single step or a single value lies in the middle."""
    u = (value - low) / (high - low) if high > low else 0.5
    return round(a + min(max(u, 0.0), 1.0) * (b - a), 1)


def _all_between(values: Sequence[float], low: float, high: float, a: float, b: float) -> list[float]:
    """`_between` of each, to the last digit."""
    x = np.asarray(values, dtype=np.float64)
    u = (x - low) / (high - low) if high > low else np.full(x.shape, 0.5)
    tenths = 10.0 * (a + np.clip(u, 0.0, 1.0) * (b - a))
    placed: list[float] = (np.rint(tenths) / 10.0).tolist()
    for i in np.flatnonzero(~(np.abs(tenths - np.floor(tenths) - 0.5) > 1e-6)).tolist():
        placed[i] = _between(values[i], low, high, a, b)  # a tie in tenths need not be one in decimals
    return placed


def padded(
    estimates: Sequence[Estimate], *, always: Sequence[float] = (), share: bool = False
) -> tuple[float, float]:
    """A range that holds every known end, and ``always``, with some air; shares stay in [0, 1].

    Example:
        >>> padded([Estimate(0.5, 0.4, 0.6, 9)], always=[0.5], share=True)
        (0.38, 0.62)
    """
    ends = [v for e in estimates for v in (e.value, e.low, e.high) if math.isfinite(v)] + list(always)
    low, high = (min(ends), max(ends)) if ends else (0.0, 1.0)
    air = 0.1 * (high - low) or 0.1 * max(abs(high), 0.1)
    low, high = low - air, high + air
    if share:
        low, high = max(low, -0.02), min(high, 1.02)
    return round(low, 12), round(high, 12)


def ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Round values inside a range, at most ``most + 1`` of them.

    Example:
        >>> ticks(0.31, 0.72)
        [0.4, 0.5, 0.6, 0.7]
    """
    span = high - low
    if not (math.isfinite(span) and span > 0):
        return [low] if math.isfinite(low) else []
    size = 10.0 ** math.floor(math.log10(span / most))
    size = next(size * m for m in (1, 2, 2.5, 5, 10, 20) if span / (size * m) <= most)
    first = math.ceil(low / size - 1e-9)
    return [float(f"{i * size:.10g}") for i in range(first, math.floor(high / size + 1e-9) + 1)]


def even(low: float, high: float) -> tuple[float, float]:
    """A range widened to round values.

    Example:
        >>> even(0.69, 16.9)
        (0.0, 20.0)
    """
    marks = ticks(low, high, 4)
    if len(marks) < 2:
        return low, high
    size = marks[1] - marks[0]
    return float(f"{math.floor(low / size) * size:.10g}"), float(f"{math.ceil(high / size) * size:.10g}")


def grid(frame: Frame, metric: str, *, signed: bool = False, most: int = 5) -> Iterator[str]:
    """Horizontal lines with their values; the percent sign stands on the topmost only."""
    values = ticks(*frame.y, most)
    for value in values:
        y = frame.line(value)
        yield f'<path class="grid" d="M{number(frame.left)} {y}H{number(frame.right)}"/>'
        text = _tick(value, metric, signed=signed, unit=value == values[-1])
        yield f'<text class="ax" x="{number(frame.left - 8)}" y="{round(y + 4, 1)}" text-anchor="end">{text}</text>'


def steps_axis(frame: Frame, *, most: int, name: str = "") -> Iterator[str]:
    """Steps below the frame; steps are whole, so are their ticks."""
    for step in ticks(*frame.x, most):
        if step == int(step):
            x = frame.column(step)
            yield f'<text class="ax" x="{x}" y="{number(frame.bottom + 18)}" text-anchor="middle">{int(step)}</text>'
    if name:
        middle = number((frame.left + frame.right) / 2)
        yield f'<text class="ax" x="{middle}" y="{number(frame.bottom + 36)}" text-anchor="middle">{name}</text>'


def number(value: float) -> str:
    """A coordinate as text."""
    return f"{round(value, 1):g}"


def _tick(value: float, metric: str, *, signed: bool, unit: bool) -> str:
    if not messages.is_share(metric):
        return f"{value:{'+' if signed and value else ''}g}".replace("-", "−")
    text = f"{100 * value:{'+.10g' if signed and value else '.10g'}}".replace("-", "−")
    return text + ("%" if unit and not signed else "")
