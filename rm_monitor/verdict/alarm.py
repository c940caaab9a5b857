"""What the curve says now: a pure function of the curve.

The points of the latest segment are looked at one after the other with a false-alarm rate for the whole run
(`rm_monitor.stats.Detector`); what the looks add up to is `rm_monitor.stats.Standing`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rm_monitor import stats
from rm_monitor.curve.chosen import best_of
from rm_monitor.curve.curve import Curve
from rm_monitor.stats import Memory
from rm_monitor.types import Alarm, Best, Estimate, EvalPoint, State, Verdict

__all__ = ["WARNINGS", "Memory", "Settled", "judge", "rules_of"]

WARNINGS = 0.20  # probability that a healthy run warns once
_DEFAULT = Alarm()
SATURATED = 0.95  # above this share of wins, outcomes against the references have no room to show a fall


class Settled(NamedTuple):
    """A warning that was settled on fresh prompts.

    Attributes:
        against: Step of the earlier checkpoint that answered them too.
        result: What they said.
    """

    against: int
    result: stats.Retest


def judge(
    curve: Sequence[EvalPoint],
    *,
    metric: str,
    alarm: Alarm = _DEFAULT,
    horizon: int | None = None,
    temperature: float | None = 1.0,
    seed: int = 0,
    clusters: NDArray[Any] | None = None,
    settled: Mapping[int, Settled] | None = None,
    memory: Memory | None = None,
) -> Verdict:
    """Judge a curve.

    Only the points of the latest segment with status ``ok`` are compared: by pool score of
    ``values["reward"]`` where all
    have it, else by ``values[metric]``, which must then lie in [0, 1].

    Args:
        curve: Points in order of step.
        metric: Name of the headline metric.
        alarm: By what it is judged.
        horizon: Evaluations the run will have, where ``alarm`` does not say; None: unknown.
        temperature: Of the pool score, 1 for rewards on a logit scale; None: fitted to the first point.
        seed: Of the resamples.
        clusters: ``(n,)`` labels of prompts that belong together, in prompt order.
        settled: Step of a warning -> what fresh prompts said; warnings may then be settled on fresh prompts
            (`rm_monitor.stats.retest`), and the verdict's ``fresh_level`` says when and at which level. None:
            they are not.
        memory: Speeds up judging a growing curve, and changes nothing else.

    Returns:
        Everything but ``reason``, which `rm_monitor.messages` writes.

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
    points, scores = Curve(curve).comparable(metric), Curve(curve).scores(metric)
    failed = _failed(curve)
    if not points:
        return Verdict(
            state="unknown" if failed else "undecided", failed=failed, false_alarms=alarm.false_alarms
        )
    rows = list(scores.rows)
    steps = [p.step for p in points]
    detector, looks = (memory if memory is not None else Memory()).look(
        rows,
        {
            **rules_of(alarm, horizon),
            "pool": scores.pool,
            "temperature": scores.temperature(temperature),
            "seed": seed,
            "clusters": clusters,
            "confirm_on_warn": settled is not None,
        },
        lambda a, b: _reaches(points[a], points[b], metric, clusters),
    )
    settled = settled or {}
    now, states = stats.Standing(), list[tuple[int, State]]()
    for step, look in zip(steps, looks, strict=True):
        confirmed = step in settled and settled[step].result.confirmed
        now = now.then(
            step,
            look.alarm,
            look.warning,
            is_best=look.is_best,
            is_level=look.is_level,
            confirmed=confirmed,
        )
        states.append((step, _standing(now) if states else "undecided"))
    best, best_point = _best(detector, points, metric, seed)
    value = points[-1].metrics.get(metric)
    dip = now.alarm.dip and not (now.degraded or now.warned)
    against, drop = _fall(now, steps, settled.get(steps[-1]))
    return Verdict(
        state=_state(now, detector, failed=failed, value=value, bounded=not scores.pool),
        step=steps[-1],
        against=against,
        drop=drop,
        p=now.alarm.p,
        since=now.since,
        ended=now.ended,
        consecutive=now.consecutive,
        change=_change(best_point, points[-1], metric, clusters),
        gain=_change(points[0], points[-1], metric, clusters),
        value=value,
        best=best,
        false_alarms=max(WARNINGS, now.warning.spent)
        if now.warned
        else max(alarm.false_alarms, now.alarm.spent),
        visible_drop=now.alarm.visible,
        jitter=now.alarm.jitter,
        dip=dip,
        alarm_in=stats.evaluations_until_alarm(detector, rows[-1]) if dip else None,
        fresh_level=math.nan if steps[-1] in settled else now.warning.fresh_level,
        n=now.alarm.n,
        units=now.alarm.units,
        looks=len(points),
        failed=failed,
        states=tuple(states),
        flags=("saturated",) if scores.pool and _is_saturated(value) else (),
    )


def rules_of(alarm: Alarm, horizon: int | None = None, *, shared_by: int = 1) -> dict[str, Any]:
    """What `stats.Detector` takes of the settings.

    Args:
        alarm: The settings.
        horizon: Evaluations the run will have, where the settings do not say.
        shared_by: Judges that share the alarm's rate.
    """
    return {
        "levels": (alarm.false_alarms / shared_by, WARNINGS),
        "horizon": horizon if alarm.horizon is None else alarm.horizon,
        "min_drop": alarm.min_drop,
        "tolerance": alarm.tolerance,
    }


def _reaches(best: EvalPoint, now: EvalPoint, metric: str, clusters: NDArray[Any] | None) -> bool:
    """Whether the headline metric is not measurably below the best point's, by the same interval as shown."""
    change = _change(best, now, metric, clusters)
    return change is None or not change.high < 0


def _fall(
    now: stats.Standing, steps: Sequence[int], settled: Settled | None
) -> tuple[tuple[int, ...], Estimate | None]:
    """The fall of the test that fired, with the bound of that test; no bound while only hysteresis holds."""
    if not (now.degraded or now.warned):
        return (), None
    if settled is not None and settled.result.confirmed and not now.alarm.flagged:
        return (settled.against,), settled.result.drop
    look = now.alarm if now.degraded else now.warning
    low = look.low if look.flagged else math.nan
    return tuple(steps[i] for i in look.against), Estimate(look.drop, low, math.nan, look.n)


def _failed(curve: Sequence[EvalPoint]) -> int:
    """Evaluations in a row, up to the last, that gave no number; one that was left out on purpose is none."""
    count = 0
    for point in reversed(curve):
        if point.status not in ("failed", "skipped"):
            break
        count += point.status == "failed"
    return count


def _state(
    now: stats.Standing, detector: stats.Detector, *, failed: int, value: Estimate | None, bounded: bool
) -> State:
    table = detector.table
    if failed:
        return "unknown"
    if len(detector.compared) < 2 or table is None or table.units < stats.MIN_UNITS:
        return "undecided"
    state = _standing(now)
    return "saturated" if bounded and state in ("improving", "steady") and _is_saturated(value) else state


def _standing(now: stats.Standing) -> State:
    if now.degraded:
        return "degraded"
    if now.warned:
        return "warned"
    if not (now.is_best or now.is_level):
        return "undecided"
    if now.recovered:
        return "recovered"
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
    return best_of(choice, compared, metric), compared[choice.index]


def _change(a: EvalPoint | None, b: EvalPoint, metric: str, clusters: NDArray[Any] | None) -> Estimate | None:
    if a is None or metric not in a.values or metric not in b.values:
        return None
    return stats.paired_change(a.values[metric], b.values[metric], clusters=clusters)
