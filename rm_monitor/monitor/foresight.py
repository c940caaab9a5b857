"""What a run will be able to see, told before it begins: by its settings, and by what it shows already."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rm_monitor import stats
from rm_monitor.curve import tables
from rm_monitor.curve.curve import Curve
from rm_monitor.types import Alarm, EvalPoint, Prompt

__all__ = ["EVALUATIONS", "USUAL_JITTER", "Foresight", "foresee", "shown_by"]

EVALUATIONS = 20  # of a run that does not say how many it will have
USUAL_JITTER = (
    0.007  # share of win rate that checkpoints differ by for no lasting reason, where nothing is known
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Foresight:
    """What was reckoned with, and what came out.

    Attributes:
        plan: What the run will show; None with fewer than 10 independent prompts, by which nothing can be
            called.
        prompts: Answered at each evaluation.
        units: Independent ones: prompts, or clusters of them.
        is_guess: Nobody said how many evaluations there will be.
        knows_jitter: The alarm reckons with checkpoints that go up and down by themselves.
        spread: What it was reckoned with where that was measured; None: assumed.
        rules: All that `stats.plan` was given besides.
    """

    plan: stats.Plan | None
    prompts: int
    units: int
    is_guess: bool
    knows_jitter: bool
    spread: stats.Spread | None = None
    rules: Mapping[str, Any] = field(default_factory=dict)

    @property
    def enough(self) -> int:
        """Prompts from which twice as many show hardly a smaller fall."""
        count = EVALUATIONS if self.plan is None else self.plan.evaluations
        return stats.worth_more_prompts(count, **self.rules)


def foresee(
    prompts: Sequence[Prompt],
    alarm: Alarm,
    *,
    horizon: int | None = None,
    spread: stats.Spread | None = None,
    jitter: float | None = None,
) -> Foresight:
    """What a monitor of these prompts will see.

    Args:
        prompts: That it asks.
        alarm: By what the curve is judged.
        horizon: Evaluations of the run, where the alarm does not say.
        spread: Measured; None, or nan: as is usual.
        jitter: As a share of the pool score; None, or nan: as is usual, if the alarm reckons with it.
    """
    labels = tables.clusters(prompts)
    units = len(prompts) if labels is None else len(set(labels.tolist()))
    evaluations = alarm.horizon or horizon
    knows = alarm.tolerance == "jitter"
    if jitter is None or not math.isfinite(jitter):
        jitter = stats.as_pool_score(USUAL_JITTER) if knows else 0.0
    known = spread if spread is not None and math.isfinite(spread.far) and spread.far > 0 else None
    rules: dict[str, Any] = {"jitter": jitter, "false_alarms": alarm.false_alarms}
    if known is not None:
        near = min(known.near, known.far, 1.0) if known.near > 0 else None
        rules |= {"spread": min(known.far, 1.0), "near": near}
    count = max(evaluations or EVALUATIONS, 2)
    return Foresight(
        plan=stats.plan(units, count, **rules) if units >= stats.MIN_UNITS else None,
        prompts=len(prompts),
        units=units,
        is_guess=not evaluations,
        knows_jitter=knows,
        spread=known,
        rules=rules,
    )


def shown_by(curve: Sequence[EvalPoint], metric: str, temperature: float | None = 1.0) -> stats.Spread | None:
    """The spread that the comparable points of a curve show; None while there are fewer than three.

    Args:
        curve: Points in order of step.
        metric: The headline metric.
        temperature: Of the pool score; None: fitted to the first point.
    """
    if len(Curve(curve).comparable(metric)) < 3:
        return None
    scores = Curve(curve).scores(metric)
    return stats.spread_of_run(scores.rows, pool=scores.pool, temperature=scores.temperature(temperature))
