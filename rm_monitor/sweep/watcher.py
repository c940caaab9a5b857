"""One look at a folder that a job writes to: what is ready is judged, what is gone is reported.

Several watchers may share a folder: a lease says who measures a step, and they record by turns. Nothing is
written into a checkpoint, and it is linked before it is loaded, so that rotation cannot pull it away.
"""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from rm_monitor.checkpoints.keeper import Keeper
from rm_monitor.curve.measured import Measured
from rm_monitor.errors import StoreLockedError
from rm_monitor.files.lease import BEAT, claim
from rm_monitor.monitor.config import MonitorConfig
from rm_monitor.monitor.monitor import RewardMonitor
from rm_monitor.monitor.reading import reader
from rm_monitor.monitor.run import Run
from rm_monitor.records.history import History
from rm_monitor.sweep.discover import Found, Source
from rm_monitor.sweep.ready import Settling, due_steps, is_last, stamp
from rm_monitor.sweep.run import Swept, measure_loaded

__all__ = ["GONE", "Watcher"]

log = logging.getLogger("rm_monitor")

TRIES = 3  # a checkpoint that cannot be measured is tried so often, then it is a gap
GONE = "deleted before it could be judged"


class Watcher:
    """Looks at a folder again and again; each look judges what is ready.

    Args:
        source: Where checkpoints come from.
        config: What to judge with.
        rest: Seconds without a change before a checkpoint is read.
        pre_rotation: Link every complete checkpoint as soon as it is seen, so that none is deleted unjudged;
            the space is given back once it is judged.
        monitor: A monitor to use instead of building one.
        clock: Seconds that never go back.
        beat: Seconds between heartbeats of a lease.
    """

    def __init__(
        self,
        source: Source,
        config: MonitorConfig,
        *,
        rest: float = 10.0,
        pre_rotation: bool = False,
        monitor: RewardMonitor | None = None,
        clock: Callable[[], float] = time.monotonic,
        beat: float = BEAT,
    ) -> None:
        self.source = source
        self.monitor = monitor or RewardMonitor.from_config(
            config.model_copy(update={"output_dir": config.output_dir or str(source.folder)})
        )
        self.run = reader(self.monitor)
        self.swept = Swept()
        self._settling = Settling(rest)
        self._pre_rotation = pre_rotation
        self._clock = clock
        self._beat = beat
        self._pins = Keeper(self.run.folder / "pins")
        self._seen: set[int] = set()  # every step that was ever there
        self._tries: dict[int, int] = {}
        self._looked = False
        self._history: tuple[int, int] | None = None  # how the file looked when it was read
        self._judged: dict[int, float] = {}  # step -> modification time of the weights that were judged
        self.changed = clock()
        self.last = False
        self._read_history()

    @property
    def newest(self) -> int | None:
        """The highest step seen."""
        return max(self._seen, default=None)

    def look(self) -> int:
        """Judge what is ready, in order of step.

        Returns:
            Checkpoints that are on disk, or about to be, and not judged yet.
        """
        if self.source.base is not None and 0 not in self._judged:
            self._judge_base()
        found = self.source.discover()
        now = self._clock()
        for checkpoint in found:
            if checkpoint.step not in self._seen:
                self._seen.add(checkpoint.step)
                self.changed = now
        if self._pre_rotation:
            for checkpoint in found:
                if checkpoint.problem is None and not self._is_judged(checkpoint):
                    self._pin(checkpoint)
        waiting = sum(
            not self._is_judged(c) and not self._try(c, now) for c in found if not self._is_dead(c, found)
        )
        self._read_history()
        self._report_deleted(found)
        self.last = any(is_last(c.path) and self._is_judged(c) for c in found)
        return waiting

    def _is_dead(self, checkpoint: Found, found: list[Found]) -> bool:
        """Half-written by a job that died: a newer one is whole."""
        dead = checkpoint.problem is not None and any(
            f.problem is None and f.step > checkpoint.step for f in found
        )
        if dead and checkpoint.step not in self.swept.left_out:
            self.swept.left_out[checkpoint.step] = str(checkpoint.problem)
            log.warning("rm_monitor: step %d is left out: %s", checkpoint.step, checkpoint.problem)
        return dead

    # ------------------------------------------------------------------ one checkpoint

    def _try(self, checkpoint: Found, now: float) -> bool:
        """Whether a checkpoint has its point now."""
        pin = self._pins.kept / f"step-{checkpoint.step}"
        if not pin.is_dir() and not self._settling.ready(checkpoint, now):
            return False
        with ExitStack() as held:
            names = [f"step-{checkpoint.step}"]
            if self._needs_references():
                if self.source.base is not None:
                    return False  # whoever judges step 0 makes them
                names.insert(0, "references")
            for name in names:
                lease = claim(self._leases / name, beat=self._beat)
                if lease is None:
                    return False
                held.enter_context(lease)
            self._read_history()
            return self._is_judged(checkpoint) or self._judge(checkpoint)

    def _needs_references(self) -> bool:
        """Whether nobody has answered the prompts yet that everyone will be compared with."""
        if self.run.parts.evaluator.needs_references:
            self.run.read()
        return self.run.parts.evaluator.needs_references

    def _judge(self, checkpoint: Found) -> bool:
        weights = _weights_time(checkpoint.path)
        pin = self._pin(checkpoint)
        if pin is None:
            return False
        measured = measure_loaded(self.run, self.source, pin, checkpoint.step)
        self._tries[checkpoint.step] = self._tries.get(checkpoint.step, 0) + 1
        if measured.error is not None and self._tries[checkpoint.step] < TRIES:
            log.warning(
                "rm_monitor: step %d could not be measured and is tried again: %s",
                checkpoint.step,
                measured.error,
            )
            return False
        measured = replace(measured, facts={**measured.facts, "weights_time": weights})
        self._record(checkpoint.step, measured, pin, checkpoint.path)
        self._judged[checkpoint.step] = weights
        self.swept.left_out.pop(checkpoint.step, None)
        self.swept.judged.append(checkpoint.step)
        self.changed = self._clock()
        return True

    def _pin(self, checkpoint: Found) -> Path | None:
        """Links to the weights, which rotation cannot take away; None if it was faster."""
        pin = self._pins.kept / f"step-{checkpoint.step}"
        if pin.is_dir() and _weights_time(pin) == _weights_time(checkpoint.path):
            return pin
        shutil.rmtree(pin, ignore_errors=True)
        try:
            return self._pins.pin(checkpoint.step, checkpoint.path)
        except (OSError, ValueError) as problem:
            log.info("rm_monitor: step %d was rotated away or rewritten: %s", checkpoint.step, problem)
            return None

    def _record_gaps(self, steps: list[int]) -> None:
        """Put steps that nobody can judge any more on the shared curve, in one turn."""
        with _Turn(self.run):
            for step in steps:
                self.run.record(Measured(table=None, skipped=GONE), step=step)

    def _record(self, step: int, measured: Measured, pin: Path | None, path: Path | None) -> None:
        """Put a measurement on the shared curve when it is our turn; the best is linked from the pin."""
        with _Turn(self.run):
            self.run.record(measured, step=step, checkpoint=pin)
            if pin is not None and path is not None:
                shutil.rmtree(pin, ignore_errors=True)
            if path is not None and path.is_dir():
                self.run.saved(step, path)

    # ------------------------------------------------------------------ what everyone must agree on

    @property
    def _leases(self) -> Path:
        return self.run.folder / "leases"

    def _judge_base(self) -> None:
        """The model before training is step 0."""
        lease = claim(self._leases / "step-0", beat=self._beat)
        if lease is None:
            return
        with lease:
            self._read_history()
            if 0 not in self._judged:
                measured = measure_loaded(self.run, self.source, None, 0)
                self._record(0, measured, self.source.base_folder, None)
                self._judged[0] = 0.0
                self.swept.judged.append(0)

    def _read_history(self) -> None:
        """What is on the curve, whoever put it there."""
        path = self.run.folder / "history.jsonl"
        looks = (path.stat().st_size, path.stat().st_mtime_ns) if path.is_file() else None
        if looks == self._history:
            return
        self._history = looks
        for point in History.read(self.run.folder):
            if point.status == "skipped":
                self.swept.left_out[point.step] = point.reason
            else:
                self._judged[point.step] = point.measured.get("weights_time", 0.0)

    def _is_judged(self, checkpoint: Found) -> bool:
        """Whether these very weights have their point: a resumed job may write a step again."""
        known = self._judged.get(checkpoint.step)
        return known is not None and (known == 0.0 or known == _weights_time(checkpoint.path))

    def _report_deleted(self, found: list[Found]) -> None:
        """Steps that were saved and are gone: seen before, or due by the Trainer's own ``save_steps``."""
        due = self._seen | due_steps(found)
        gone = sorted(due - {c.step for c in found} - set(self._judged) - set(self.swept.left_out))
        before, self._looked = ([] if self._looked else [s for s in gone if s not in self._seen]), True
        self.swept.left_out.update(dict.fromkeys(gone, GONE))
        if before:  # as many as a job has saved: no reader of the curve wants each
            log.warning(
                "rm_monitor: %d steps, %d to %d, were deleted before this watch began: not on the curve",
                *(len(before), before[0], before[-1]),
            )
        new = [step for step in gone if step not in before]
        if new:
            log.warning("rm_monitor: %s: %s (see --pre-rotation)", GONE, ", ".join(map(str, new)))
            self._record_gaps(new)


class _Turn:
    """Waits for our turn to record; another watcher's takes a fraction of a second."""

    def __init__(self, run: Run, *, patience: int = 600) -> None:
        self._run = run
        self._patience = patience

    def __enter__(self) -> None:
        for left in range(self._patience, -1, -1):
            self._held = self._run.turn()
            try:
                self._held.__enter__()
                return
            except StoreLockedError:
                if not left:
                    raise
                time.sleep(0.1)

    def __exit__(self, *why: object) -> None:
        self._held.__exit__(*why)  # type: ignore[arg-type]


def _weights_time(folder: Path) -> float:
    """Newest modification time of the weights in seconds; links share it with what they link to."""
    return max((ns for name, _, ns in stamp(folder) if name.endswith(".safetensors")), default=0) / 1e9
