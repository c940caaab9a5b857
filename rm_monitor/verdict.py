"""What the curve says now: a pure function of the curve.

The points of the latest segment are looked at one after the other with a false-alarm rate for the whole run
(`rm_monitor.stats.degradation`). An alarm starts the *degraded* state; it ends only when the fall is no
longer seen at the lenient level of a warning, or when a new best appears, so that the state does not flicker.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rm_monitor import stats
from rm_monitor.types import Best, Estimate, EvalPoint, FloatArray, State, Verdict

__all__ = ["Memory", "judge"]

SATURATED = 0.95  # above this share of wins, outcomes against the references have no room to show a fall


class Memory:
    """Work already done for a curve, so that judging one more point costs one look.

    It never changes an answer: `judge` starts anew whenever the curve is not a continuation of what is
    remembered.
    """

    def __init__(self) -> None:
        self._key: tuple[Any, ...] = ()
        self._rows: list[FloatArray] = []
        self._steps: list[int] = []
        self.detector: stats.Detector | None = None
        self.trace: list[_Moment] = []

    def continues(self, key: tuple[Any, ...], steps: Sequence[int], rows: Sequence[FloatArray]) -> bool:
        """Whether all that is remembered is the beginning of this curve, judged by the same rules."""
        return (
            self.detector is not None
            and self._key == key
            and self._steps == list(steps[: len(self._steps)])
            and all(np.array_equal(a, b, equal_nan=True) for a, b in zip(self._rows, rows, strict=False))
        )

    def begin(self, key: tuple[Any, ...], detector: stats.Detector) -> None:
        """Forget everything."""
        self._key, self._rows, self._steps, self.detector, self.trace = key, [], [], detector, []

    def take(self, step: int, row: FloatArray) -> None:
        """Look at one more evaluation."""
        assert self.detector is not None
        alarm, warning = self.detector.add(row)
        table = self.detector.table
        is_best = bool(table is not None and table.value[-1] >= np.nanmax(table.value))
        before = self.trace[-1] if self.trace else _Moment()
        self.trace.append(_next(before, step, alarm, warning, is_best))
        self._rows.append(row.copy())
        self._steps.append(step)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Moment:
    """Where the run stands after one look."""

    alarm: stats.Look = field(default_factory=stats.Look)
    warning: stats.Look = field(default_factory=stats.Look)
    degraded: bool = False
    warned: bool = False
    recovered: bool = False
    is_best: bool = False
    since: int | None = None
    ended: int | None = None
    consecutive: int = 0


def _next(before: _Moment, step: int, alarm: stats.Look, warning: stats.Look, is_best: bool) -> _Moment:
    """The state after one more look."""
    if not math.isfinite(alarm.p):  # nothing could be compared: this look changes nothing
        return _Moment(
            alarm=alarm,
            warning=warning,
            degraded=before.degraded,
            warned=before.warned,
            recovered=before.recovered,
            is_best=is_best,
            since=before.since,
            ended=before.ended,
            consecutive=before.consecutive,
        )
    degraded = alarm.flagged or (before.degraded and warning.flagged and not is_best)
    warned = warning.flagged and not degraded and not (before.degraded and is_best)
    ended = step if before.degraded and not degraded else before.ended
    same = (degraded and before.degraded) or (warned and before.warned)
    return _Moment(
        alarm=alarm,
        warning=warning,
        degraded=degraded,
        warned=warned,
        recovered=not degraded and (ended == step or (before.recovered and not is_best)),
        is_best=is_best,
        since=(before.since if same else step) if degraded or warned else None,
        ended=ended,
        consecutive=before.consecutive + 1 if alarm.flagged else 0,
    )


def judge(
    curve: Sequence[EvalPoint],
    *,
    metric: str,
    horizon: int | None = None,
    alpha: float = 0.05,
    warn_alpha: float = 0.20,
    min_drop: float = 0.02,
    tolerance: float = 0.0,
    temperature: float | None = 1.0,
    seed: int = 0,
    clusters: NDArray[Any] | None = None,
    memory: Memory | None = None,
) -> Verdict:
    """Judge a curve.

    Only the points of the latest segment with status ``ok`` are compared: by pool score of
    ``values["reward"]`` where all
    have it, else by ``values[metric]``, which must then lie in [0, 1].

    Args:
        curve: Points in order of step.
        metric: Name of the headline metric.
        horizon: Evaluations the run will have; None: unknown.
        alpha: False-alarm rate of a run for ``degraded``.
        warn_alpha: The same for ``warned``.
        min_drop: Smallest fall that counts, as a share of the pool score.
        tolerance: Fall that is healthy jitter, as a share of the pool score.
        temperature: Of the pool score, 1 for rewards on a logit scale; None: fitted to the first point.
        seed: Of the resamples.
        clusters: ``(n,)`` labels of prompts that belong together, in prompt order.
        memory: Speeds up judging a growing curve, and changes nothing else.

    Returns:
        Everything but ``reason``, which `rm_monitor.words` writes. ``recovered`` lasts until there is a new
        best.

    Raises:
        ValueError: If a rule is out of range.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> curve = [EvalPoint(step=s, metrics={"win_prob": Estimate(0.5, 0.4, 0.6, 200)},
        ...                    values={"reward": rng.normal(level, 1.0, 200), "win_prob": np.full(200, 0.5)})
        ...          for s, level in [(0, 0.0), (100, 1.0), (200, 1.0), (300, -1.0)]]
        >>> verdict = judge(curve, metric="win_prob", horizon=4)
        >>> verdict.state, verdict.step, verdict.against[-1] < 300, verdict.best.step < 300
        ('degraded', 300, True, True)
    """
    points = _comparable(curve, metric)
    failed = _failed(curve)
    if not points:
        return Verdict(state="unknown" if failed else "undecided", failed=failed, false_alarms=alpha)
    pool = all("reward" in p.values for p in points)
    rows = [np.asarray(p.values["reward" if pool else metric], dtype=np.float64) for p in points]
    steps = [p.step for p in points]
    if temperature is None:
        temperature = stats.pool_temperature(rows[0])
    memory = memory if memory is not None else Memory()
    groups = None if clusters is None else tuple(np.asarray(clusters).tolist())
    key = (pool, horizon, alpha, warn_alpha, min_drop, tolerance, temperature, seed, groups)
    if not memory.continues(key, steps, rows):
        memory.begin(
            key,
            stats.Detector(
                levels=(alpha, warn_alpha),
                pool=pool,
                temperature=temperature,
                horizon=horizon,
                min_drop=min_drop,
                tolerance=tolerance,
                seed=seed,
                clusters=clusters,
            ),
        )
    for step, row in list(zip(steps, rows, strict=True))[len(memory.trace) :]:
        memory.take(step, row)
    now = memory.trace[-1]
    assert memory.detector is not None
    best, best_point = _best(memory.detector, points, metric, seed)
    value = points[-1].metrics.get(metric)
    fired = now.alarm if now.alarm.flagged else now.warning
    return Verdict(
        state=_state(now, memory.detector, failed=failed, value=value, bounded=not pool),
        step=steps[-1],
        against=tuple(steps[i] for i in fired.against) if now.degraded or now.warned else (),
        drop=Estimate(fired.drop, fired.low, math.nan, fired.n) if now.degraded or now.warned else None,
        p=now.alarm.p,
        since=now.since,
        ended=now.ended,
        consecutive=now.consecutive,
        change=_change(best_point, points[-1], metric, clusters),
        gain=_change(points[0], points[-1], metric, clusters),
        value=value,
        best=best,
        false_alarms=max(warn_alpha, now.warning.spent) if now.warned else max(alpha, now.alarm.spent),
        visible_drop=now.alarm.visible,
        n=now.alarm.n,
        looks=len(points),
        failed=failed,
        flags=("saturated",) if pool and _is_saturated(value) else (),
    )


def _comparable(curve: Sequence[EvalPoint], metric: str) -> list[EvalPoint]:
    """Whole points of the latest segment that hold the prompts of the latest of them."""
    whole = [
        p
        for p in curve
        if p.segment == curve[-1].segment
        and p.status == "ok"
        and ("reward" in p.values or metric in p.values)
    ]
    if not whole:
        return []
    if not all("reward" in p.values for p in whole):
        whole = [p for p in whole if metric in p.values]
    name = "reward" if all("reward" in p.values for p in whole) else metric
    return [p for p in whole if p.values[name].shape == whole[-1].values[name].shape]


def _failed(curve: Sequence[EvalPoint]) -> int:
    """Evaluations in a row, up to the last, that gave no number."""
    count = 0
    for point in reversed(curve):
        if point.status not in ("failed", "skipped"):
            break
        count += 1
    return count


def _state(
    now: _Moment, detector: stats.Detector, *, failed: int, value: Estimate | None, bounded: bool
) -> State:
    table = detector.table
    if failed:
        return "unknown"
    if len(detector.compared) < 2 or table is None or table.units < stats.MIN_UNITS:
        return "undecided"
    if now.degraded:
        return "degraded"
    if now.warned:
        return "warned"
    if now.recovered:
        return "recovered"
    if bounded and _is_saturated(value):
        return "saturated"
    return "improving" if now.is_best else "steady"


def _is_saturated(value: Estimate | None) -> bool:
    return value is not None and value.value > SATURATED


def _best(
    detector: stats.Detector, points: Sequence[EvalPoint], metric: str, seed: int
) -> tuple[Best | None, EvalPoint | None]:
    """The best point, whether or not its checkpoint lies on disk."""
    compared = [points[i] for i in detector.compared]
    if detector.table is None or not np.isfinite(detector.table.value).any():
        return None, None
    nothing = Estimate(math.nan, math.nan, math.nan, 0)
    values = [p.metrics.get(metric, nothing) for p in compared]
    choice = stats.choose(detector.table, ties=np.array([v.value for v in values]), seed=seed)
    point = compared[choice.index]
    best = Best(
        step=point.step,
        value=values[choice.index],
        checkpoint=point.checkpoint,
        p_best=choice.p_best,
        tied=tuple(compared[i].step for i in choice.tied),
    )
    return best, point


def _change(a: EvalPoint | None, b: EvalPoint, metric: str, clusters: NDArray[Any] | None) -> Estimate | None:
    if a is None or metric not in a.values or metric not in b.values:
        return None
    return stats.paired_change(a.values[metric], b.values[metric], clusters=clusters)
