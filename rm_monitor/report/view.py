"""`RunView`: what a page shows of a run, and what follows from it by arithmetic alone."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from rm_monitor import stats
from rm_monitor.curve import tables
from rm_monitor.curve.curve import Curve
from rm_monitor.types import (
    Best,
    Estimate,
    EvalPoint,
    FloatArray,
    Prompt,
    ReferenceSet,
    State,
    Table,
    Verdict,
)

__all__ = ["NOTHING", "RunView", "known"]

NOTHING = Estimate(math.nan, math.nan, math.nan, 0)


@dataclass(frozen=True, kw_only=True)
class RunView:
    """What the page shows of a run.

    Attributes:
        name: Of the run, for people.
        metric: The headline metric.
        curve: Points in order of step.
        verdict: What the curve says.
        best: The best checkpoint on disk.
        prompts: In prompt order; empty where the run kept none.
        references: The first reference set.
        tables: Step -> completions of that evaluation; the two to be laid side by side.
        sides: The two steps to be laid side by side; None: the best and the latest.
        facts: Name -> text, for "How this was made".
    """

    name: str
    metric: str
    curve: Curve
    verdict: Verdict
    best: Best | None
    prompts: Sequence[Prompt] = ()
    references: ReferenceSet | None = None
    tables: Mapping[int, Table] = field(default_factory=dict)
    sides: tuple[int, int] | None = None
    facts: Mapping[str, str] = field(default_factory=dict)

    @property
    def best_step(self) -> int | None:
        """The best step of the curve, whether or not it lies on disk."""
        return None if self.verdict.best is None else self.verdict.best.step

    @property
    def judge(self) -> str:
        """Name of the first reward model."""
        return self.facts.get("reward model", "a reward model").split(", ")[0]

    @cached_property
    def shown(self) -> list[EvalPoint]:
        """Points with a number."""
        return [p for p in self.curve if known(p, self.metric)]

    @cached_property
    def compared(self) -> Curve:
        """Whole points of the latest segment on the same prompts as the latest of them."""
        return self.curve.holding(self.metric)

    @cached_property
    def states(self) -> Mapping[int, State]:
        """Step -> state that was reached there."""
        return dict(self.verdict.states)

    def changes(self, metric: str, points: Sequence[EvalPoint] | None = None) -> dict[int, Estimate]:
        """Step -> paired change of a metric from the best step, all bars holding at once.

        Empty where the best step has no such values.
        """
        points = [p for p in (self.compared if points is None else points) if metric in p.values]
        origin = next((i for i, p in enumerate(points) if p.step == self.best_step), None)
        if origin is None or len(points) < 2:
            return {}
        table = np.array([p.values[metric] for p in points])
        found = stats.changes(table, origin, clusters=self.clusters(table.shape[1]))
        return {p.step: e for p, e in zip(points, found, strict=True)}

    @cached_property
    def headline_changes(self) -> dict[int, Estimate]:
        """`changes` of the headline metric."""
        return self.changes(self.metric)

    def clusters(self, n: int) -> NDArray[np.str_] | None:
        """Cluster labels of ``n`` prompts; None where they stand alone or are not known."""
        return tables.clusters(self.prompts) if len(self.prompts) == n else None

    def at(self, step: int | None) -> EvalPoint | None:
        """The point of a step."""
        return self.curve.at(step)

    def row(self, step: int, metric: str) -> FloatArray | None:
        """``(n,)`` per-prompt values at a step."""
        point = self.at(step)
        return None if point is None else point.values.get(metric)


def known(point: EvalPoint, metric: str) -> bool:
    """Whether a point has a number."""
    return metric in point.metrics and math.isfinite(point.metrics[metric].value)
