"""A second process, as the trainer holds it: what it is told, what it says, how it ended."""

from __future__ import annotations

import logging
import math
import os
import pickle
import select
import signal
import struct
import subprocess
import sys
import time
import weakref
from contextlib import suppress
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

from rm_monitor.monitor.overlap.slot import Slot, nameless

__all__ = ["Worker", "WorkerEndedError"]

log = logging.getLogger("rm_monitor")

LINE = 60.0  # seconds of waiting after which a line says so

_LAUNCHERS = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


class WorkerEndedError(Exception):
    """The process is gone; the message says how."""


class Worker:
    """A process of its own: it never runs the training script, and a fork after torch can hang.

    Args:
        luggage: What it works with.
        slot: Where it finds weights.
        log: File to which its output goes.
    """

    def __init__(self, luggage: bytes, slot: Slot, log: Path) -> None:
        self._log = log
        self._pipe, theirs = Pipe()
        fds = (theirs.fileno(), slot.fd)
        with os.fdopen(nameless(), "w+b") as given, log.open("ab") as output:
            given.write(luggage)
            given.seek(0)
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "rm_monitor.monitor.overlap.serve"),
                    *map(str, (*fds, slot.size, os.getpid())),
                ],
                pass_fds=fds,
                stdin=given,
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C is the trainer's to handle
                env=_environment(),
            )
        theirs.close()
        self._end = weakref.finalize(self, _end, self._process, os.getpid())
        self._poll = select.poll()
        self._poll.register(self._pipe.fileno(), select.POLLIN)

    def tell(self, what: str, given: Any) -> None:
        """Give it something to do; if it is gone, `hear` says so."""
        try:
            self._pipe.send((what, given))
        except OSError:
            return

    def hear(self, *, wait: bool, patience: float = math.inf) -> tuple[str, Any] | None:
        """What it says; None if it says nothing yet.

        Args:
            wait: Until it says something; a line says so each minute.
            patience: Seconds after which it is ended: it is stuck.

        Raises:
            WorkerEndedError: If it will never say anything again.
        """
        if not self._poll.poll(self._wait(patience) if wait else 0):
            return None
        try:
            what, given = pickle.loads(self._message(patience))
        except (EOFError, OSError) as problem:
            with suppress(subprocess.TimeoutExpired):  # it is ending, and its status says how
                self._process.wait(timeout=10)
            self.end()
            raise WorkerEndedError(f"{self._how()}; what it said is in {self._log}") from problem
        if what == "unable":
            self.end()
            raise WorkerEndedError(f"the second process could not begin: {given}; more is in {self._log}")
        return what, given

    def _wait(self, patience: float) -> int:
        """Wait until it speaks, 0 for the poll that follows.

        Raises:
            WorkerEndedError: If it did not; it is gone then.
        """
        began = time.monotonic()
        while not self._poll.poll(1000 * max(0.0, min(LINE, began + patience - time.monotonic()))):
            waited = time.monotonic() - began
            if waited >= patience:
                self._process.kill()  # a stopped process does not hear anything milder
                self.end()
                raise WorkerEndedError(
                    f"the second process gave no sign for {waited:.0f} s and was ended: it was stopped or is "
                    f"stuck; what it said is in {self._log}"
                )
            log.warning(
                "rm_monitor: training has waited %.0f s for the second process; it is ended after %.0f s",
                *(waited, patience),
            )
        return 0

    def _message(self, patience: float) -> bytes:
        """What it has begun to say, to its end: one that stops in the middle is not waited for for ever.

        Raises:
            WorkerEndedError: If it stopped.
            EOFError: If it is gone.
        """
        size = struct.unpack("!i", self._exactly(4, patience))[0]
        if size == -1:  # as `Connection` writes what is longer than 2 GB
            size = struct.unpack("!Q", self._exactly(8, patience))[0]
        return self._exactly(size, patience)

    def _exactly(self, size: int, patience: float) -> bytes:
        parts, left = [], size
        while left:
            self._wait(patience)
            part = os.read(self._pipe.fileno(), min(left, 1 << 20))
            if not part:
                raise EOFError
            parts.append(part)
            left -= len(part)
        return b"".join(parts)

    def end(self) -> None:
        """Stop it, and leave no zombie."""
        self._pipe.close()
        self._end()

    def _how(self) -> str:
        code = self._process.returncode
        if code >= 0:
            return f"the second process ended with status {code}"
        name = signal.Signals(-code).name
        memory = ", often for want of memory" if name == "SIGKILL" else ""
        return f"the second process was killed ({name}{memory})"


def _environment() -> dict[str, str]:
    """This one's, without what a launcher said: the second process is alone."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in _LAUNCHERS and not name.startswith(("ACCELERATE_", "FSDP_", "TORCHELASTIC_"))
    }
    return {**kept, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}


def _end(process: subprocess.Popen[bytes], owner: int) -> None:
    if os.getpid() != owner:  # a fork of the trainer ends, not the trainer
        return
    if process.poll() is None:
        try:
            process.wait(timeout=0.2)  # one that ends by itself says how
        except subprocess.TimeoutExpired:
            process.kill()
    with suppress(subprocess.TimeoutExpired):  # one that hangs in the kernel is left to it
        process.wait(timeout=10)
