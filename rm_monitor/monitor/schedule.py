"""When to evaluate: a pure function of the step and the last judged step, the same on every rank."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rm_monitor.types.checks import build, number, whole

__all__ = ["Schedule", "as_schedule"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """Every so many steps, on given steps, or with the Trainer.

    Attributes:
        every: Steps between evaluations; None, with no `steps`: with each save or evaluation of the Trainer.
        steps: Further steps to evaluate at.
        max_overhead: Share of the training time that evaluations may take, such as 0.1 for a tenth; one that
            would take more is moved to the step at which it fits, loudly. None: no limit.

    Raises:
        ValueError: If a value breaks a rule.

    Example:
        >>> schedule = Schedule(every=100, steps=frozenset({5}))
        >>> [step for step in range(301) if schedule.due(step, None)]
        [0, 5, 100, 200, 300]
    """

    every: int | None = None
    steps: frozenset[int] = frozenset()
    max_overhead: float | None = None

    def __post_init__(self) -> None:
        if self.every is not None:
            whole("every", self.every, "a number of steps, at least 1 (None: follow the Trainer)", at_least=1)
        for step in self.steps:
            whole("steps", step, "optimizer steps from 0 on", at_least=0)
        object.__setattr__(self, "steps", frozenset(self.steps))
        if self.max_overhead is not None:
            rule = "a share of the training time, above 0 and at most 1 (0.1 is 10 %; None: no limit)"
            number("max_overhead", self.max_overhead, rule, above=0, at_most=1)

    @property
    def follows_trainer(self) -> bool:
        """Whether the Trainer's saves and evaluations decide."""
        return self.every is None and not self.steps

    def due(self, step: int, last: int | None) -> bool:
        """Whether ``step`` is to be judged, when ``last`` was the last judged one."""
        if step == last:
            return False
        return (self.every is not None and step % self.every == 0) or step in self.steps

    def room_for(self, moved: int | None, step: int) -> int | None:
        """``moved`` if an evaluation may be moved from ``step`` to there: before the next due step.

        Example:
            >>> schedule = Schedule(every=100)
            >>> schedule.room_for(130, 100), schedule.room_for(200, 100), Schedule().room_for(130, 100)
            (130, None, None)
        """
        if moved is None or self.every is None or moved >= (step // self.every + 1) * self.every:
            return None
        return None if any(step < s <= moved for s in self.steps) else moved

    def expected(self, max_steps: int, *, baseline: bool) -> int | None:
        """Evaluations until ``max_steps``; None: the Trainer's saves and evaluations decide.

        Args:
            max_steps: The last optimizer step.
            baseline: Step 0 is judged.

        Example:
            >>> Schedule(every=100).expected(250, baseline=True)
            4
        """
        if self.follows_trainer or max_steps <= 0:
            return None
        further = sum(0 < s <= max_steps and (not self.every or s % self.every != 0) for s in self.steps)
        regular = max_steps // self.every if self.every is not None else 0
        last = max_steps in self.steps or (self.every is not None and max_steps % self.every == 0)
        return regular + further + int(not last) + int(baseline)

    def __str__(self) -> str:
        if self.follows_trainer:
            return "with each save or evaluation"
        parts = [f"every {self.every} steps"] if self.every is not None else []
        return " and ".join([*parts, *([f"at {len(self.steps)} given steps"] if self.steps else [])])


def as_schedule(every: Any) -> Schedule:
    """What ``every`` stands for: steps, None, a mapping of a schedule's settings, or a `Schedule`.

    Raises:
        ValueError: If it is none of these.
    """
    if isinstance(every, Schedule):
        return every
    return build(Schedule, "every", every) if isinstance(every, Mapping) else Schedule(every=every)
