"""`Curve`: the points of a run, and which of them may be compared."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np

from rm_monitor import stats
from rm_monitor.types import EvalPoint, FloatArray

__all__ = ["Curve", "CurveScores"]

REWARD = "reward"
MOST = 24  # lines of a curve as text


@dataclass(frozen=True, slots=True, kw_only=True)
class CurveScores:
    """Per-prompt scores of points that may be compared: what the alarm and the choice of the best look at.

    Attributes:
        name: The metric they are of.
        rows: ``(t, n)``, row = point, column = prompt; nan where unscored.
        pool: They are rewards, to be compared by pool score; False: outcomes in [0, 1] of a preference model.
    """

    name: str
    rows: FloatArray
    pool: bool

    def temperature(self, given: float | None) -> float:
        """Of the pool score.

        Args:
            given: What is known of the rewards' scale; None: it is fitted to the first point.
        """
        if given is not None:
            return given
        return stats.pool_temperature(self.rows[0]) if self.pool else 1.0


def _line(point: EvalPoint) -> str:
    """A point as text: its headline, or why it has none."""
    name = next((name for name in ("win_prob", "win_rate", "reward") if name in point.metrics), None)
    if name is None:
        return f"step {point.step}: {point.status}{f', {point.reason[:100]}' if point.reason else ''}"
    return f"step {point.step}: {name} {point.metrics[name]}"


class Curve(Sequence[EvalPoint]):
    """Points of a run in order of step, those of earlier segments included.

    It equals any sequence of the same points.

    Example:
        >>> curve = Curve([EvalPoint(step=0, segment="a"), EvalPoint(step=5, segment="b")])
        >>> curve.latest.step, [p.step for p in curve.segment()], curve.at(3)
        (5, [5], None)
    """

    __slots__ = ("_points",)
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, points: Iterable[EvalPoint] = ()) -> None:
        self._points = tuple(points)

    @overload
    def __getitem__(self, index: int) -> EvalPoint: ...
    @overload
    def __getitem__(self, index: slice) -> Curve: ...
    def __getitem__(self, index: int | slice) -> EvalPoint | Curve:
        return Curve(self._points[index]) if isinstance(index, slice) else self._points[index]

    def __len__(self) -> int:
        return len(self._points)

    def __iter__(self) -> Iterator[EvalPoint]:
        return iter(self._points)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or isinstance(other, str):
            return NotImplemented
        return self._points == tuple(other)

    def __repr__(self) -> str:
        """One line an evaluation; of a long curve the first and the last."""
        if not self._points:
            return "no evaluation yet"
        lines = [_line(point) for point in self._points]
        if len(lines) > MOST:
            left = len(lines) - MOST + 1
            lines = [*lines[: MOST // 2], f"... {left} more ...", *lines[-MOST // 2 + 1 :]]
        return "\n".join(lines)

    @property
    def latest(self) -> EvalPoint | None:
        """The last point, gap or not; None before the first."""
        return self._points[-1] if self._points else None

    @property
    def segment_name(self) -> str:
        """Of the latest segment; empty before the first point."""
        return self._points[-1].segment if self._points else ""

    def at(self, step: int | None) -> EvalPoint | None:
        """The point of a step; None where there is none."""
        return next((p for p in self._points if p.step == step), None)

    def segment(self, name: str | None = None) -> Curve:
        """Points of one segment, measured alike, gaps included; None: the latest."""
        name = self.segment_name if name is None else name
        return Curve(p for p in self._points if p.segment == name)

    def holding(self, *metrics: str) -> Curve:
        """Whole points of the latest segment with per-prompt values of all these metrics.

        Whole: ``ok``, neither partial nor a gap. Points on another number of prompts than
        the latest of them are left out.
        """
        whole = [p for p in self.segment() if p.status == "ok" and all(m in p.values for m in metrics)]
        if not whole or not metrics:
            return Curve(p for p in whole if p.values)
        size = whole[-1].values[metrics[0]].shape
        return Curve(p for p in whole if p.values[metrics[0]].shape == size)

    def comparable(self, metric: str) -> Curve:
        """Points that are judged with each other: by their rewards, or by ``metric`` where one has none.

        Args:
            metric: Name of the headline metric.
        """
        whole = [p for p in self.segment() if p.status == "ok" and (REWARD in p.values or metric in p.values)]
        return self.holding(REWARD if all(REWARD in p.values for p in whole) else metric)

    def scores(self, metric: str) -> CurveScores:
        """What the points of `comparable` are judged by, row by row.

        Args:
            metric: Name of the headline metric.
        """
        points = self.comparable(metric)
        pool = all(REWARD in p.values for p in points)
        name = REWARD if pool else metric
        rows = [np.asarray(p.values[name], dtype=np.float64) for p in points]
        return CurveScores(name=name, rows=np.array(rows) if rows else np.empty((0, 0)), pool=pool)
