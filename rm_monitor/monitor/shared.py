"""What every process knows of a run: rank 0 has the logbook, the others keep what it broadcast."""

from __future__ import annotations

from dataclasses import dataclass

from rm_monitor.errors import RMMonitorError
from rm_monitor.monitor.recorder import Logbook
from rm_monitor.training.ranks import Ranks
from rm_monitor.types import Best, EvalPoint, Verdict

__all__ = ["Decided", "Known", "Opened"]


@dataclass(frozen=True, slots=True)
class Decided:
    """What rank 0 found in an evaluation."""

    point: EvalPoint
    verdict: Verdict
    best: Best | None
    error: str = ""


@dataclass(frozen=True, slots=True)
class Opened:
    """What rank 0 found on disk."""

    curve: tuple[EvalPoint, ...]
    verdict: Verdict
    best: Best | None
    metric: str


class Known:
    """The curve, the verdict and the best, the same on every rank.

    Attributes:
        ranks: The processes of the run.
        book: Rank 0's logbook, from the start of the run on; None on the others.
    """

    def __init__(self) -> None:
        self.ranks = Ranks.alone()
        self.book: Logbook | None = None
        self._curve: tuple[EvalPoint, ...] = ()
        self._verdict = Verdict()
        self._best: Best | None = None

    @property
    def curve(self) -> tuple[EvalPoint, ...]:
        """Every point so far."""
        return self._curve if self.book is None else self.book.curve

    @property
    def verdict(self) -> Verdict:
        """What the curve says."""
        return self._verdict if self.book is None else self.book.verdict

    @property
    def best(self) -> Best | None:
        """The best checkpoint on disk."""
        return self._best if self.book is None else self.book.best

    def open(self, opened: Opened | None, error: Exception | None) -> Opened:
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

    def decide(self, decided: Decided | None) -> Decided:
        """Take over what rank 0 decided; every rank calls it."""
        said = self.ranks.broadcast(decided)
        if self.book is None:
            self._curve = (*(p for p in self._curve if p.step != said.point.step), said.point)
            self._verdict, self._best = said.verdict, said.best
        return said

    def share_best(self) -> None:
        """Take over what rank 0 keeps as the best; every rank calls it."""
        self._best = self.ranks.broadcast(self.best)
