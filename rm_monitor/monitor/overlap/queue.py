"""The trainer's side: at most one evaluation runs and one snapshot waits; results come in order of step."""

from __future__ import annotations

import pickle
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rm_monitor.curve.measured import Measured
from rm_monitor.errors import GenerationError
from rm_monitor.monitor.overlap import refusals
from rm_monitor.monitor.overlap.recipe import Recipe
from rm_monitor.monitor.plan import Plan
from rm_monitor.types import ReferenceSet

if TYPE_CHECKING:
    from rm_monitor.monitor.overlap.slot import Slot
    from rm_monitor.monitor.overlap.worker import Worker

__all__ = ["Late", "Overlap"]


FIRST = 3600.0  # seconds that the first answer may take: the reward model is loaded, perhaps fetched
SHORTEST = 120.0
TIMES = 5.0  # an evaluation that takes so many times the longest one is stuck


@dataclass(frozen=True, slots=True, kw_only=True)
class Late:
    """A measurement, and the step it belongs to.

    Attributes:
        step: Optimizer step.
        checkpoint: Where its weights lay when it was due, if they did.
        measured: What was found.
        has_weights: Whether `Overlap.save` can write its weights, until the next result is asked for.
    """

    step: int
    checkpoint: Path | None
    measured: Measured
    has_weights: bool = False


@dataclass(slots=True)
class _Job:
    step: int
    checkpoint: Path | None
    found: Measured  # of what was left out; else the facts, before it was measured
    measured: bool = False
    told: bool = False
    taken: bool = False


class Overlap:
    """One second process and its queue.

    Args:
        recipe: By what it judges.
        device: Where it works; True: where the model is.
        without: Arguments of the monitor that cannot be had with it, and what the user gave for them.

    Raises:
        ValueError: If it cannot be had; the message has the way out.
    """

    def __init__(self, recipe: Recipe, device: bool | str, *, without: Mapping[str, Any]) -> None:
        refusals.check(device, without)
        recipe.check()
        self._recipe = recipe
        self._device = device
        self._references: tuple[ReferenceSet, ...] | None = None
        self._jobs: deque[_Job] = deque()
        self._worker: Worker | None = None
        self._slot: Slot | None = None
        self._layout: Any = None
        self._luggage = b""
        self._log = Path()
        self._dearest = 0.0  # seconds of the longest evaluation so far

    @property
    def begun(self) -> bool:
        """Whether one was made in place: it makes the references, and fails where all see it."""
        return self._references is not None

    @property
    def idle(self) -> bool:
        """Whether nothing is outstanding."""
        return not self._jobs

    def check(self, model: Any, tokenizer: Any = None) -> None:
        """Refuse, before training, a model that cannot be copied.

        Raises:
            UnsupportedSetupError: Why, and the way out.
        """
        from rm_monitor.monitor.overlap.structure import layout, pack  # noqa: PLC0415  needs torch

        refusals.check_kl(self._recipe.kl, model)
        layout(model)
        pack(model, tokenizer)

    def check_ranks(self, size: int) -> None:
        """Refuse several training processes."""
        refusals.check_ranks(size)

    def begin(self, references: tuple[ReferenceSet, ...], folder: Path) -> None:
        """From now on evaluations are made in the second process.

        Args:
            references: What completions are compared with.
            folder: Where the second process writes its log.
        """
        self._references, self._log = references, folder / "second-process.log"
        self._recipe = replace(self._recipe, folder=str(folder))

    def hand_over(
        self,
        plan: Plan,
        model: Any,
        tokenizer: Any,
        *,
        step: int,
        checkpoint: Path | None,
        record: Callable[[Late], Any],
    ) -> None:
        """Copy the weights, once there is room; training may go on as soon as this returns.

        Args:
            plan: What is to be done; what is known or skipped only keeps its place.
            model: The model as it stands.
            tokenizer: Its tokenizer.
            step: Optimizer step.
            checkpoint: Where these weights already lie, if they do.
            record: Called with each result that is there, in order of step.
        """
        left_out = plan.known or (Measured(table=None, skipped=plan.skipped) if plan.skipped else None)
        if left_out is None:
            left_out = self._copy(model, tokenizer, plan, step, checkpoint, record)
        if left_out is not None:
            left_out = replace(left_out, weights=plan.weights)
            self._jobs.append(_Job(step, checkpoint, left_out, measured=True))
        self.collect(record)

    def collect(self, record: Callable[[Late], Any], *, wait: bool = False) -> None:
        """Record what is there, in order of step.

        Args:
            record: Called with each result.
            wait: Until nothing is outstanding.
        """
        while not self.idle and (self._one(record, wait=wait) or wait):
            pass

    @property
    def _patience(self) -> float:
        """Seconds that the second process may be silent: from experience, once there is some."""
        return max(SHORTEST, TIMES * self._dearest) if self._dearest else FIRST

    def _one(self, record: Callable[[Late], Any], *, wait: bool) -> bool:
        late = self._next(wait=wait)
        if late is not None:
            record(late)
        return late is not None

    def _copy(
        self,
        model: Any,
        tokenizer: Any,
        plan: Plan,
        step: int,
        checkpoint: Path | None,
        record: Callable[[Late], Any],
    ) -> Measured | None:
        """Wait for room and copy the weights; what went wrong, if it did."""
        from rm_monitor.monitor.overlap.slot import weights  # noqa: PLC0415  needs torch
        from rm_monitor.monitor.overlap.structure import layout  # noqa: PLC0415

        began = time.monotonic()
        try:
            shape = layout(model)
        except Exception as problem:
            return Measured(table=None, error=problem)
        while not self._has_room(shape):
            self._one(record, wait=True)
        facts = {"seconds_waited": time.monotonic() - began}
        began = time.monotonic()
        try:
            slot = self._slot_for(model, tokenizer, shape)
            slot.write(weights(model))
        except Exception as problem:  # no memory; or a model that `check` was not shown
            return Measured(table=None, error=problem, facts=facts)
        facts["seconds_snapshot"] = time.monotonic() - began
        self._jobs.append(_Job(step, checkpoint, Measured(table=None, facts=facts, weights=plan.weights)))
        return None

    def _has_room(self, shape: Any) -> bool:
        """Whether a model of this layout can be copied now."""
        if shape != self._layout:
            return self.idle  # a new slot is needed, and the old one is in use
        return all(job.taken or job.measured for job in self._jobs)

    def _slot_for(self, model: Any, tokenizer: Any, shape: Any) -> Slot:
        """The slot, made anew for a model of another layout; the next process is told of its structure."""
        from rm_monitor.monitor.overlap import slot, structure  # noqa: PLC0415  needs torch
        from rm_monitor.monitor.overlap.settings import settings  # noqa: PLC0415

        if self._slot is None or shape != self._layout:
            self.close()
            on = str(slot.weights(model)[0].device) if self._device is True else self._device
            packed = structure.pack(model, tokenizer)
            parts = (self._references, settings(), packed, on)
            packed_parts = (self._recipe.packed(), *map(pickle.dumps, parts))
            self._luggage = pickle.dumps((list(sys.path), *packed_parts))  # the path first: it reads the rest
            self._slot, self._layout = slot.Slot.for_model(model), shape
        return self._slot

    def _next(self, *, wait: bool = False) -> Late | None:
        """The oldest outstanding result, if it is there; None: it is not, or only its snapshot was taken.

        Args:
            wait: Until the second process says something.
        """
        from rm_monitor.monitor.overlap.worker import WorkerEndedError  # noqa: PLC0415  needs torch

        if self.idle:
            return None
        job = self._jobs[0]
        if job.measured:
            self._jobs.popleft()
            return Late(step=job.step, checkpoint=job.checkpoint, measured=job.found)
        try:
            heard = self._tell_head().hear(wait=wait, patience=self._patience)
        except WorkerEndedError as end:  # a snapshot that waits is judged by another process
            self._worker = None
            self._jobs.popleft()
            failed = replace(job.found, error=GenerationError(str(end)))
            return Late(step=job.step, checkpoint=job.checkpoint, measured=failed)
        if heard is None:
            return None
        what, given = heard
        if what == "taken":
            job.taken = True
            return None
        self._jobs.popleft()
        self._dearest = max(self._dearest, given.facts.get("seconds", 0.0))
        facts = {**given.facts, **job.found.facts}
        found = replace(given, facts=facts, weights=job.found.weights)
        return Late(step=job.step, checkpoint=job.checkpoint, measured=found, has_weights=found.error is None)

    def save(self, folder: Path) -> None:
        """Write the weights of the last result.

        Raises:
            RuntimeError: Why they could not be written.
            WorkerEndedError: The process is gone.
        """
        assert self._worker is not None
        self._worker.tell("save", str(folder))
        try:
            heard = self._worker.hear(wait=True, patience=self._patience)
        except Exception:
            self._worker = None
            raise
        assert heard is not None
        if heard[1]:
            raise RuntimeError(heard[1])

    def close(self) -> None:
        """End the process; what is outstanding is lost."""
        self._jobs.clear()
        if self._worker is not None:
            self._worker.end()
            self._worker = None
        if self._slot is not None:
            self._slot.close()
            self._slot = self._layout = None

    def _tell_head(self) -> Worker:
        """Let the process measure the oldest outstanding snapshot, once."""
        from rm_monitor.monitor.overlap.worker import Worker, WorkerEndedError  # noqa: PLC0415  needs torch

        assert self._slot is not None
        if self._worker is None:
            try:
                self._worker = Worker(self._luggage, self._slot, self._log)
            except OSError as problem:
                raise WorkerEndedError(f"the second process could not be started: {problem}") from problem
        job = self._jobs[0]
        if not job.told and not job.measured:
            job.told = True
            self._worker.tell("measure", job.step)
        return self._worker
