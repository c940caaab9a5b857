"""What is to be done at a step, decided before anything is answered.

An evaluation whose weights have answered before costs nothing: their numbers are used again. One that is over
the budget is moved. Rank 0 decides, and its decision is broadcast.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from rm_monitor.evaluation.early_stop import Duel, Looks
from rm_monitor.evaluation.measurer import Measured, Measurer
from rm_monitor.messages.failures import Complaints
from rm_monitor.monitor.budget import Budget
from rm_monitor.monitor.recorder import Logbook
from rm_monitor.monitor.schedule import Schedule
from rm_monitor.training.ranks import Ranks
from rm_monitor.types import Prompt

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
        duel: How it may end before all prompts are answered; None: it does not.
    """

    known: Measured | None = None
    skipped: str = ""
    moved: int | None = None
    weights: str = ""
    duel: Duel | None = None


class Planner:
    """Decides for one run.

    Args:
        prompts: The fixed prompts.
        schedule: When evaluations are due.
        complain: Where failures of ours go.
        max_overhead: As `RewardMonitor` takes it.
        early_stop: Likewise.
        seed: Of the order of prompts.

    Raises:
        ValueError: If `max_overhead` or `early_stop` breaks a rule.
    """

    def __init__(
        self,
        prompts: Sequence[Prompt],
        schedule: Schedule,
        complain: Complaints,
        *,
        max_overhead: float | None = None,
        early_stop: str | None = None,
        seed: int = 0,
    ) -> None:
        self.budget = Budget(max_overhead)
        self._looks = None if early_stop is None else Looks.plan(prompts, seed=seed, rule=early_stop)
        self._schedule = schedule
        self._complain = complain
        self._moved: int | None = None

    def check(self, ranks: Ranks) -> None:
        """Refuse, before training, what these processes cannot do.

        Raises:
            ValueError: `early_stop` with several processes.
        """
        if self._looks is not None and ranks.size > 1:
            raise ValueError(
                f"`early_stop` answers block by block, and a block shared by {ranks.size} processes is a few "
                "prompts for each: it would take longer than all prompts at once. Leave `early_stop` None"
            )

    def due(self, step: int, last: int | None) -> bool:
        """Whether ``step`` is to be judged, when ``last`` was the last judged one; the same on every rank."""
        if self._moved is not None and step >= self._moved:
            return step != last
        return self._schedule.due(step, last)

    def decide(
        self, step: int, book: Logbook | None, measurer: Measurer, *, model: Any, tokenizer: Any, always: bool
    ) -> Plan:
        """The plan for a step; every rank calls it.

        Args:
            step: Optimizer step.
            book: What rank 0 knows; None on the other ranks.
            measurer: Names the weights.
            model: The model as it stands.
            tokenizer: Its tokenizer.
            always: Also if it is over the budget.
        """
        plan = Plan() if book is None else self._on_first(step, book, measurer, model, tokenizer, always)
        known = None if plan.known is None else replace(plan.known, table=None)
        said = measurer.ranks.broadcast(replace(plan, known=known))
        self._moved = said.moved
        return said if book is None else plan

    def _on_first(
        self, step: int, book: Logbook, measurer: Measurer, model: Any, tokenizer: Any, always: bool
    ) -> Plan:
        weights = ""
        try:
            weights = measurer.weights(model, tokenizer)
            known = book.known(weights)
            if known is not None:
                return Plan(known=known, weights=weights)
        except Exception as problem:  # then it is answered
            self._complain("weights", "whether the weights have changed cannot be told", problem)
        refusal = "" if always else self.budget.refusal()
        if not refusal:
            rival = None if self._looks is None else book.rival
            duel = None if self._looks is None or rival is None else Duel(self._looks, rival)
            return Plan(weights=weights, duel=duel)
        moved = self._schedule.room_for(self.budget.fits_at(step), step)
        refusal += "" if moved is None else f"; moved to step {moved}"
        log.warning("rm_monitor: no evaluation at step %d: %s", step, refusal)
        return Plan(skipped=refusal, moved=moved)
