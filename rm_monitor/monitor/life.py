"""How a run begins, goes on and ends, and what it knows meanwhile: the part of `Run` that is its life."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from rm_monitor.errors import RanksLostError, StoreBusyError
from rm_monitor.monitor.at_exit import say_at_exit
from rm_monitor.monitor.background import Background, make_background
from rm_monitor.monitor.late import patiently
from rm_monitor.monitor.parts import Parts
from rm_monitor.monitor.plan import Planner
from rm_monitor.monitor.recorder import Recorder
from rm_monitor.monitor.shared import OpenedRun, SharedState
from rm_monitor.training.ranks import Ranks
from rm_monitor.types import Best, EvalPoint, Verdict

__all__ = ["EVERY_STEP", "Life"]

EVERY_STEP = 2**53  # resume after it: nothing on the curve is superseded


class Life:
    """How a run begins, goes on and ends: ``new`` until `begin` or `read`, then ``open``, then ``closed``.

    Args:
        parts: What a monitor is made of: settings, judges, evaluator.
        folder: Where its files lie.
        by_hand: A loop drives it; False: a Trainer.
    """

    def __init__(self, parts: Parts, folder: Path, *, by_hand: bool = True) -> None:
        self.folder = folder
        self.by_hand = by_hand
        self.state: Literal["new", "open", "closed"] = "new"
        self.last_step: int | None = None
        self.parts = parts
        self._shared = SharedState(Ranks.alone())
        self._planner = Planner(parts.settings.schedule, self._shared.ranks, parts.failures, parts.clock)
        self._background: Background | None = None
        self._diagnostics = parts.diagnostics()
        self._lost = False  # other processes did not come to agree: nothing is measured any more
        self.touched = False  # a model was seen: what cannot work has been refused
        self._is_untried = False  # the next evaluation is the first proof: if it fails, the run is refused

    # ------------------------------------------------------------------ what it knows

    @property
    def curve(self) -> tuple[EvalPoint, ...]:
        """Every point so far, in order of step; ``checkpoint`` says where its weights lay last."""
        return self._shared.curve

    @property
    def verdict(self) -> Verdict:
        """What the curve says now."""
        return self._shared.verdict

    @property
    def best(self) -> Best | None:
        """The best checkpoint on disk; None before the first one is saved."""
        return self._shared.best

    @property
    def segment(self) -> str:
        """Name of the present segment: points with the same name may be compared."""
        return "" if self._shared.recorder is None else self._shared.recorder.segment

    @property
    def overlaps(self) -> bool:
        """Whether points come late, from a second process."""
        return self._background is not None

    @property
    def metric(self) -> str:
        """Name of the headline metric."""
        return self.parts.metric

    @property
    def is_first(self) -> bool:
        """Whether this process scores, writes and decides."""
        return self._shared.ranks.is_first

    @property
    def is_lost(self) -> bool:
        """Whether another process did not come to agree: nothing is judged any more."""
        return self._lost

    def due(self, step: int) -> bool:
        """Whether the schedule asks for an evaluation at this step; costs microseconds when it does not."""
        return not self._lost and self._planner.due(step, self.last_step)

    # ------------------------------------------------------------------ begin and end

    def begin(
        self, resume_step: int | None = None, *, report_to: Any = None, horizon: int | None = None
    ) -> None:
        """Open the files, and continue or begin the curve; every rank calls it.

        Args:
            resume_step: Step training resumes from: later points are superseded. None: a fresh run; what the
                folder holds of an earlier one is an earlier attempt, and its best is set aside.
            report_to: Where the Trainer reports to, for a monitor that was not told.
            horizon: Evaluations expected, for an alarm that was not told.

        Raises:
            StoreBusyError: On every rank, if a process of another machine may hold the folder: begin again.
                A loop that is driven by hand waits for it, for a moment.
            Exception: What kept it from beginning; RMMonitorError on the other ranks.
        """

        def begin() -> None:
            self._begin(resume_step, report_to, horizon)

        patiently(begin) if self.by_hand else begin()

    def _begin(self, resume_step: int | None, report_to: Any, horizon: int | None) -> None:
        parts, ranks = self.parts, Ranks.current()
        self._shared.ranks = ranks
        self._planner = Planner(parts.settings.schedule, ranks, parts.failures, parts.clock)
        self._background = make_background(parts, ranks)
        opened: OpenedRun | None = None
        error: Exception | None = None
        try:
            if ranks.is_first:
                parts.load_judges()
                self._probe()
            parts.evaluator.begin(ranks, self.folder, resumes=resume_step is not None)
            if ranks.is_first:
                recorder = self._record_here(parts.sinks(report_to), horizon)
                aside = recorder.begin(resume_step, self.folder.parent)
                self._shared.recorder = recorder
                parts.announce(recorder, aside, self._diagnostics)
                opened = OpenedRun(tuple(recorder.points), recorder.verdict, recorder.best, parts.metric)
        except Exception as problem:
            error = problem
        again = ranks.broadcast(error.again if isinstance(error, StoreBusyError) else 0.0)
        if again:
            raise error or StoreBusyError("rank 0 waits for the folder", again=again)
        found = self._shared.open(opened, error)
        parts.metric = found.metric
        self.last_step = found.curve[-1].step if found.curve else None
        self.state = "open"
        say_at_exit(self)

    def last_words(self) -> str:
        """What is said if the process ends now: the summary of a run that nobody closed, else nothing."""
        if self.state != "open" or self._shared.recorder is None or not self.curve:
            return ""
        return f"rm_monitor: training ended early\n{self._shared.recorder.summary()}"

    def reopen(self) -> None:
        """Go on with a run that was closed: what is judged now is a further point of the same attempt."""
        if self.state == "closed":
            self._background = None  # what is judged after the end is judged in place
            self.state = "open"

    def read(self) -> None:
        """Take part in measuring for another process: references are read, nothing is written."""
        self.parts.load_judges()
        self.parts.evaluator.begin(Ranks.alone(), self.folder, resumes=True)
        self.touched = True
        self.state = "open"

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Hold the files just long enough to record: several processes share a run by turns, after `read`.

        The curve is read anew, so each process judges with what all of them recorded.

        Raises:
            StoreLockedError: If it is another process's turn.
        """
        self.parts.evaluator.begin(Ranks.alone(), self.folder, resumes=True)
        recorder = self._record_here(self.parts.sinks(None), None)
        recorder.begin(EVERY_STEP, self.folder.parent)
        self._shared.recorder = recorder
        try:
            yield
        finally:
            recorder.close()

    # ------------------------------------------------------------------ parts of it

    @property
    def _has_worked(self) -> bool:
        return any(point.status in ("ok", "partial") for point in self._shared.curve)

    def _lose(self, problem: RanksLostError, what: str) -> None:
        self._lost = True
        self.parts.failures("ranks", f"{what}; training goes on", problem)

    def _record_here(self, sinks: Any, horizon: int | None) -> Recorder:
        return self.parts.recorder(self.folder, sinks=sinks, horizon=horizon, diagnostics=self._diagnostics)

    def _probe(self) -> None:
        """Refuse a folder that cannot be written: a disk that fills up later is another matter."""
        probe = self.folder / ".probe"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            probe.write_bytes(b"")
            probe.unlink()
        except OSError as problem:
            raise ValueError(
                f"`output_dir` {str(self.folder.parent)!r} cannot be written "
                f"({problem.strerror or problem}): give another"
            ) from None
