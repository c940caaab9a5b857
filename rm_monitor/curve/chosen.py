"""The best of some points: a choice among rows, as a checkpoint of a run."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rm_monitor.stats import BestChoice
from rm_monitor.types import Best, Estimate, EvalPoint

__all__ = ["best_of"]


def best_of(choice: BestChoice, points: Sequence[EvalPoint], metric: str) -> Best:
    """A choice among points, in their steps and the headline metric."""
    point = points[choice.index]
    return Best(
        step=point.step,
        value=point.metrics.get(metric, Estimate(math.nan, math.nan, math.nan, 0)),
        checkpoint=point.checkpoint,
        p_best=choice.p_best,
        tied=tuple(points[i].step for i in choice.tied),
        cost=choice.cost,
        earliest=points[choice.earliest].step,
        earliest_cost=choice.earliest_cost,
    )
