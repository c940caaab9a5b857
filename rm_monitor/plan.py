"""What is to be done at a step, decided before anything is answered.

An evaluation whose weights have answered before costs nothing: their numbers are used again. One that is over
the budget is moved. Rank 0 decides, and its decision is broadcast.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import Any

from rm_monitor.budget import Budget
from rm_monitor.logbook import Complaints, Logbook
from rm_monitor.measurer import Measured, Measurer
from rm_monitor.schedule import Schedule

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
        measurer: Names the weights.
        schedule: When evaluations are due.
        budget: What they may cost.
        complain: Where failures of ours go.
    """

    def __init__(self, measurer: Measurer, schedule: Schedule, budget: Budget, complain: Complaints) -> None:
        self.budget = budget
        self._measurer = measurer
        self._schedule = schedule
        self._complain = complain
        self._moved: int | None = None

    def due(self, step: int, last: int | None) -> bool:
        """Whether ``step`` is to be judged, when ``last`` was the last judged one; the same on every rank."""
        if self._moved is not None and step >= self._moved:
            return step != last
        return self._schedule.due(step, last)

    def decide(
        self, step: int, book: Logbook | None, model: Any, tokenizer: Any, *, whatever_it_costs: bool
    ) -> Plan:
        """The plan for a step; every rank calls it.

        Args:
            step: Optimizer step.
            book: What rank 0 knows; None on the other ranks.
            model: The model as it stands.
            tokenizer: Its tokenizer.
            whatever_it_costs: Also if it is over the budget.
        """
        plan = Plan() if book is None else self._on_first(step, book, model, tokenizer, whatever_it_costs)
        known = None if plan.known is None else replace(plan.known, table=None)
        said = self._measurer.ranks.broadcast(replace(plan, known=known))
        self._moved = said.moved
        return said if book is None else plan

    def _on_first(
        self, step: int, book: Logbook, model: Any, tokenizer: Any, whatever_it_costs: bool
    ) -> Plan:
        weights = ""
        try:
            weights = self._measurer.weights(model, tokenizer)
            known = book.known(weights)
            if known is not None:
                return Plan(known=known, weights=weights)
        except Exception as problem:  # then it is answered
            self._complain("weights", "whether the weights have changed cannot be told", problem)
        refusal = "" if whatever_it_costs else self.budget.refusal()
        if not refusal:
            return Plan(weights=weights)
        moved = self._schedule.room_for(self.budget.fits_at(step), step)
        refusal += "" if moved is None else f"; moved to step {moved}"
        log.warning("rm_monitor: no evaluation at step %d: %s", step, refusal)
        return Plan(skipped=refusal, moved=moved)
