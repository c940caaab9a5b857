"""When to evaluate: a pure function of the step and the last judged step, the same on every rank."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Schedule"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """Every so many steps, on given steps, or with the Trainer.

    Attributes:
        every: Steps between evaluations; None, with no `steps`: with each save or evaluation of the Trainer.
        steps: Further steps to evaluate at.

    Raises:
        ValueError: If `every` is below 1 or a step is negative.

    Example:
        >>> schedule = Schedule(every=100, steps=frozenset({5}))
        >>> [step for step in range(301) if schedule.due(step, None)]
        [0, 5, 100, 200, 300]
    """

    every: int | None = None
    steps: frozenset[int] = frozenset()

    def __post_init__(self) -> None:
        if self.every is not None and self.every < 1:
            raise ValueError(
                f"`every` is a number of steps, at least 1 (None: follow the Trainer), got {self.every}"
            )
        if any(step < 0 for step in self.steps):
            raise ValueError(f"`steps` are optimizer steps from 0 on, got {min(self.steps)}")

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

    def __str__(self) -> str:
        if self.follows_trainer:
            return "with each save or evaluation"
        parts = [f"every {self.every} steps"] if self.every is not None else []
        return " and ".join([*parts, *([f"at {len(self.steps)} given steps"] if self.steps else [])])
