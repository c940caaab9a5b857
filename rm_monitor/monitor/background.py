"""A run's second process: what is handed over is recorded when it comes back, at its own step."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from rm_monitor.monitor.overlap import Late, Overlap
from rm_monitor.monitor.parts import Parts
from rm_monitor.monitor.plan import Plan
from rm_monitor.monitor.recorder import Recorder
from rm_monitor.training.ranks import Ranks
from rm_monitor.types import EvalPoint, ReferenceSet

__all__ = ["Background", "make_background"]

Record = Callable[..., EvalPoint]  # `Run.record`


def make_background(parts: Parts, ranks: Ranks) -> Background | None:
    """The second process of a run; None where evaluations are made in place.

    Raises:
        ValueError: If there are several training processes, or something it cannot be had with.
    """
    if not parts.settings.overlap:
        return None
    overlap = parts.overlap()
    overlap.check_ranks(ranks.size)
    return Background(overlap)


class Background:
    """Hands evaluations over, and records what comes back.

    Args:
        overlap: The second process and its queue.
    """

    def __init__(self, overlap: Overlap) -> None:
        self._overlap = overlap
        self._recorder: Recorder | None = None
        self._came: list[EvalPoint] = []  # late, and not asked for yet

    @property
    def begun(self) -> bool:
        """Whether one evaluation was made in place: it makes the references, and fails where all see it."""
        return self._overlap.begun

    def check(self, model: Any, tokenizer: Any) -> None:
        """Refuse, before training, a model that cannot be copied."""
        self._overlap.check(model, tokenizer)

    def begin(self, references: tuple[ReferenceSet, ...], folder: Path, recorder: Recorder | None) -> None:
        """From now on evaluations are made in the second process."""
        self._recorder = recorder
        if not self._overlap.begun:
            self._overlap.begin(references, folder)

    def hand_over(
        self, plan: Plan, model: Any, tokenizer: Any, *, step: int, checkpoint: Any, record: Record
    ) -> EvalPoint:
        """Let it judge a copy of these weights; the real point comes with `collect`."""
        self._overlap.hand_over(
            plan,
            model,
            tokenizer,
            step=step,
            checkpoint=None if checkpoint is None else Path(checkpoint),
            record=lambda late: self._record(late, record),
        )
        return EvalPoint(step=step, status="pending", reason="being judged in a second process")

    def collect(self, record: Record, *, wait: bool = False) -> tuple[EvalPoint, ...]:
        """Record what is there, in order of step; the points that came since the last call."""
        self._overlap.collect(lambda late: self._record(late, record), wait=wait)
        came, self._came = tuple(self._came), []
        return came

    def close(self) -> None:
        """End the process; what is outstanding is lost."""
        self._overlap.close()

    def _record(self, late: Late, record: Record) -> None:
        """Put a result on the curve; the weights of a new best are written by whoever has them."""
        where = late.checkpoint
        if (where is None or not where.is_dir()) and self._recorder is not None:
            where = self._recorder.path(late.step)
        save = self._overlap.save if late.has_weights and where is None else None
        self._came.append(record(late.measured, step=late.step, checkpoint=where, save=save, late=True))
