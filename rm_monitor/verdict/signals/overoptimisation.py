"""Does a second judge confirm the first? Pure functions of the curve.

A reward model that is optimised keeps rising after quality turns (arXiv 2210.10760): the one thing that
reward models alone can show of it is that another one, which nobody optimises, falls while the first rises.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rm_monitor import stats
from rm_monitor.curve.curve import Curve, CurveScores
from rm_monitor.curve.metrics import HEADLINES
from rm_monitor.stats import Memory
from rm_monitor.types import Alarm, Estimate, EvalPoint, FloatArray, Signal
from rm_monitor.verdict.alarm import rules_of

__all__ = ["Memory", "second_judges", "second_opinions"]

_DEFAULT = Alarm()


def second_judges(metrics: Sequence[str]) -> list[str]:
    """Names of the further scorers behind some metrics, in order.

    Example:
        >>> second_judges(["win_rate", "win_rate/sft", "gold/win_rate", "gold/win_rate/sft", "gold/reward"])
        ['gold']
    """
    found = [name.partition("/") for name in metrics]
    return list(dict.fromkeys(first for first, _, rest in found if rest in ("win_rate", "reward")))


def second_opinions(
    curve: Sequence[EvalPoint],
    *,
    metric: str,
    alarm: Alarm = _DEFAULT,
    horizon: int | None = None,
    temperature: float | None = None,
    seed: int = 0,
    clusters: NDArray[Any] | None = None,
    memories: dict[str, Memory] | None = None,
) -> list[Signal]:
    """What each further scorer's own alarm says, beside how the headline moved between the same steps.

    A second judge's rewards are watched exactly as the primary's are, with the rate of the alarm shared
    among all of them. While its alarm is in force, the headline metric is compared, paired by prompt, between
    the very steps of the contrast that fired: up (its 95 % interval lies above 0) makes ``divergence``, else
    ``second_opinion``.

    So neither is raised by chance more often than that rate in runs whose answers do not get worse in the
    second judges' eyes. If they do while the headline does not move, the second condition keeps
    ``divergence`` rare: the steps were chosen where the second judge stood high, and where judges
    agree at all the headline stood high there too, which makes a rise since then less likely, not more.

    Args:
        curve: Points in order of step.
        metric: Name of the headline metric.
        alarm: By what they are judged; its rate is for all second judges together.
        horizon: Evaluations the run will have, where ``alarm`` does not say; None: unknown.
        temperature: Of the pool score; None: fitted to each judge's first point.
        seed: Of the resamples.
        clusters: ``(n,)`` labels of prompts that belong together.
        memories: Speeds up judging a growing curve, and changes nothing else.
    """
    points = Curve(curve).holding(metric)
    judges = second_judges(list(points[-1].values)) if points else []
    memories = {} if memories is None else memories
    rules = {
        **rules_of(alarm, horizon, shared_by=max(len(judges), 1)),
        "seed": seed,
        "clusters": clusters,
    }
    signals = []
    for judge in judges:
        memory = memories.setdefault(judge, Memory())
        signal = _opinion(points, judge, metric, rules, temperature, memory, clusters)
        if signal is not None:
            signals.append(signal)
    return signals


def _opinion(
    points: Sequence[EvalPoint],
    judge: str,
    metric: str,
    rules: dict[str, Any],
    temperature: float | None,
    memory: Memory,
    clusters: NDArray[Any] | None,
) -> Signal | None:
    pool = f"{judge}/reward" in points[-1].values
    score = f"{judge}/reward" if pool else f"{judge}/{_headline(points[-1], judge)}"
    scored = [
        p for p in points if score in p.values and p.values[score].shape == points[-1].values[score].shape
    ]
    scores = CurveScores(name=score, rows=np.array([p.values[score] for p in scored]), pool=pool)
    known = {"pool": pool, "temperature": scores.temperature(temperature)}
    _, looks = memory.look(list(scores.rows), {**rules, **known})
    now = stats.Standing()
    for point, seen in zip(scored, looks, strict=True):
        now = now.then(point.step, seen.alarm, seen.warning, is_best=seen.is_best, is_level=seen.is_level)
    if not now.degraded:
        return None
    look = now.alarm if now.alarm.flagged else now.warning
    past, last = [scored[i] for i in look.against], [scored[i] for i in look.now]
    headline = f"{judge}/{_headline(points[-1], judge)}"
    moved = _moved(past, last, metric, clusters)
    return Signal(
        name="divergence" if moved.low > 0 else "second_opinion",
        about=judge,
        step=scored[-1].step,
        against=tuple(p.step for p in past),
        change=_moved(past, last, headline, clusters),
        drop=Estimate(look.drop, look.low if now.alarm.flagged else np.nan, np.nan, look.n),
        judge=moved,
        before=_level(past, headline),
        now=_level(last, headline),
        n=look.n,
        false_alarms=max(rules["levels"][0], now.alarm.spent),
    )


def _headline(point: EvalPoint, judge: str) -> str:
    return next(m for m in HEADLINES if f"{judge}/{m}" in point.values)


def _moved(
    past: Sequence[EvalPoint], last: Sequence[EvalPoint], metric: str, clusters: NDArray[Any] | None
) -> Estimate:
    """Paired change of a metric between two windows of evaluations."""
    return stats.paired_change(_average(past, metric), _average(last, metric), clusters=clusters)


def _average(points: Sequence[EvalPoint], metric: str) -> FloatArray:
    unknown = np.full(points[0].values[next(iter(points[0].values))].shape, np.nan)
    average: FloatArray = np.mean([p.values.get(metric, unknown) for p in points], axis=0)
    return average


def _level(points: Sequence[EvalPoint], metric: str) -> float:
    x = _average(points, metric)
    return float(x[np.isfinite(x)].mean()) if np.isfinite(x).any() else np.nan
