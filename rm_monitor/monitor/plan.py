"""What is to be done at a step, decided before anything is answered.

An evaluation whose weights have answered before costs nothing: their numbers are used again. One that is over
the budget is moved. Rank 0 decides, and its decision is broadcast.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from rm_monitor.curve.measured import Measured
from rm_monitor.messages.failures import FailureLog
from rm_monitor.monitor.budget import Budget
from rm_monitor.monitor.schedule import Schedule
from rm_monitor.training.ranks import Ranks

__all__ = ["Plan", "Planner"]

log = logging.getLogger("rm_monitor")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What rank 0 decided about a step.

    Attributes:
        known: What these very weights said at an earlier step; its table is on rank 0 alone.
        skipped: Why nothing is measured; empty if something is.
        moved: Step at which the evaluation that is skipped here will fit.
        weights: Name of the weights; empty: unknown.
    """

    known: Measured | None = None
    skipped: str = ""
    moved: int | None = None
    weights: str = ""


class Planner:
    """Decides for one run.

    Args:
        schedule: When evaluations are due, and what they may cost.
        ranks: The processes of the run.
        failures: Where failures of ours go.
        clock: Seconds that never go back.
    """

    def __init__(
        self,
        schedule: Schedule,
        ranks: Ranks,
        failures: FailureLog,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.budget = Budget(schedule.max_overhead, clock=clock)
        self._schedule = schedule
        self._ranks = ranks
        self._failures = failures
        self._moved: int | None = None

    def due(self, step: int, last: int | None) -> bool:
        """Whether ``step`` is to be judged, when ``last`` was the last judged one; the same on every rank."""
        if self._moved is not None and step >= self._moved:
            return step != last
        return self._schedule.due(step, last)

    def decide(
        self,
        step: int,
        weights: Callable[[], str],
        known: Callable[[str], Measured | None],
        *,
        always: bool,
    ) -> Plan:
        """The plan for a step; every rank calls it.

        Args:
            step: Optimizer step.
            weights: Names the weights as they stand; asked on rank 0 alone.
            known: What weights of a name said before; likewise.
            always: Also if it is over the budget.
        """
        plan = self._on_first(step, weights, known, always) if self._ranks.is_first else Plan()
        sent = None if plan.known is None else replace(plan.known, table=None)
        said = self._ranks.broadcast(replace(plan, known=sent))
        self._moved = said.moved
        return plan if self._ranks.is_first else said

    def _on_first(
        self, step: int, weights: Callable[[], str], known: Callable[[str], Measured | None], always: bool
    ) -> Plan:
        name = ""
        try:
            name = weights()
            if (before := known(name)) is not None:
                return Plan(known=before, weights=name)
        except Exception as problem:  # then it is answered
            self._failures("weights", "whether the weights have changed cannot be told", problem)
        refusal = "" if always else self.budget.refusal()
        if not refusal:
            return Plan(weights=name)
        moved = self._schedule.room_for(self.budget.fits_at(step), step)
        refusal += "" if moved is None else f"; moved to step {moved}"
        log.warning("rm_monitor: no evaluation at step %d: %s", step, refusal)
        return Plan(skipped=refusal, moved=moved)
