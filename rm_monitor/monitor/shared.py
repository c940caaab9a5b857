"""What every process knows of a run: rank 0 has the recorder, the others keep what it broadcast."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rm_monitor.curve.measured import Measured
from rm_monitor.errors import RMMonitorError
from rm_monitor.monitor.quietly import quietly
from rm_monitor.monitor.recorder import Recorder
from rm_monitor.training.ranks import Ranks
from rm_monitor.types import Best, EvalPoint, Verdict

__all__ = ["Decision", "OpenedRun", "SharedState"]


@dataclass(frozen=True, slots=True)
class Decision:
    """What rank 0 found in an evaluation."""

    point: EvalPoint
    verdict: Verdict
    best: Best | None
    error: str = ""


@dataclass(frozen=True, slots=True)
class OpenedRun:
    """What rank 0 found on disk."""

    curve: tuple[EvalPoint, ...]
    verdict: Verdict
    best: Best | None
    metric: str


class SharedState:
    """The curve, the verdict and the best, the same on every rank.

    Args:
        ranks: The processes of the run.

    Attributes:
        recorder: Rank 0's, from the start of the run on; None on the others.
    """

    def __init__(self, ranks: Ranks) -> None:
        self.ranks = ranks
        self.recorder: Recorder | None = None
        self._curve: tuple[EvalPoint, ...] = ()
        self._verdict = Verdict()
        self._best: Best | None = None

    @property
    def curve(self) -> tuple[EvalPoint, ...]:
        """Every point so far."""
        return self._curve if self.recorder is None else self.recorder.curve

    @property
    def verdict(self) -> Verdict:
        """What the curve says."""
        return self._verdict if self.recorder is None else self.recorder.verdict

    @property
    def best(self) -> Best | None:
        """The best checkpoint on disk."""
        return self._best if self.recorder is None else self.recorder.best

    def open(self, opened: OpenedRun | None, error: Exception | None) -> OpenedRun:
        """Begin with what rank 0 found; if it could not begin, no rank does.

        Raises:
            RMMonitorError: On the other ranks, if rank 0 could not begin; there, what kept it.
        """
        payloads, errors = self.ranks.agree(opened, error)
        if error is not None:
            raise error
        found = payloads[0]
        if errors or found is None:
            raise RMMonitorError(f"rank 0 could not begin: {errors.get(0, errors)}")
        self._curve, self._verdict, self._best = found.curve, found.verdict, found.best
        return found

    def record(
        self,
        step: int,
        measured: Measured,
        *,
        checkpoint: Path | None,
        about_to_save: bool,
        answer_fresh: Callable[[], Measured] | None,
    ) -> tuple[Decision, Exception | None]:
        """Let rank 0 record, judge and show a measurement, and all take over what it decided.

        Returns:
            The decision, the same on every rank, and on rank 0 what went wrong.
        """
        recorder, entered = self.recorder, None
        if recorder is not None:
            if checkpoint is not None:
                recorder.lies(step, checkpoint)
            with quietly():  # scores may be asked for again
                entered = recorder.enter(step, measured, about_to_save=about_to_save)
        if answer_fresh is not None and self.ranks.broadcast(recorder is not None and recorder.wants_fresh):
            answers = answer_fresh()
            if recorder is not None:
                recorder.settle(answers)
        if recorder is None or entered is None:
            return self.decide(None), None
        with quietly():  # sinks are other people's code
            recorder.show()
        point, error = entered
        text = "" if error is None else f"{type(error).__name__}: {error}"
        return self.decide(Decision(point, recorder.verdict, recorder.best, text)), error

    def decide(self, decision: Decision | None) -> Decision:
        """Take over what rank 0 decided; every rank calls it."""
        said = self.ranks.broadcast(decision)
        if self.recorder is None:
            self._curve = (*(p for p in self._curve if p.step != said.point.step), said.point)
            self._verdict, self._best = said.verdict, said.best
        return said

    def share_best(self) -> None:
        """Take over what rank 0 keeps as the best; every rank calls it."""
        self._best = self.ranks.broadcast(self.best)
