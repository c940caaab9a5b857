"""A lease on a piece of work: several processes, on machines that share only a folder, never do it twice.

The file's name is the claim (``O_EXCL``), its modification time the heartbeat. Times are compared with the
file server's own clock, never with this machine's.
"""

from __future__ import annotations

import os
import socket
import threading
import uuid
from contextlib import suppress
from pathlib import Path
from types import TracebackType

__all__ = ["BEAT", "MISSED", "Lease", "claim", "silence"]

BEAT = 10.0  # seconds between heartbeats
MISSED = 3  # heartbeats missed before somebody else may take over


class Lease:
    """A held claim; a thread renews it until it is released.

    Args:
        path: The file.
        beat: Seconds between heartbeats.
    """

    def __init__(self, path: Path, *, beat: float = BEAT) -> None:
        self.path = path
        self._beat = beat
        self._mine = _identity(path)
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._renew, name=f"lease {path.name}", daemon=True)
        self._thread.start()

    def __enter__(self) -> Lease:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def release(self) -> None:
        """Let somebody else have it."""
        self._done.set()
        self._thread.join()
        if _identity(self.path) == self._mine:  # else somebody took it over, and it is theirs
            self.path.unlink(missing_ok=True)

    def _renew(self) -> None:
        while not self._done.wait(self._beat):
            try:
                if _identity(self.path) == self._mine:
                    os.utime(self.path)
            except OSError:  # the file server is away, or the lease was taken over: recording will tell
                continue


def claim(path: Path, *, beat: float = BEAT) -> Lease | None:
    """Take a lease, also one whose holder has died; None if somebody holds it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if _create(path):
        return Lease(path, beat=beat)
    if not _is_stale(path, beat):
        return None
    try:  # of several who see it stale, one renames it
        os.rename(path, path.with_name(f".{path.name}-{uuid.uuid4().hex}"))
    except OSError:
        return None
    for old in path.parent.glob(f".{path.name}-*"):
        old.unlink(missing_ok=True)
    return Lease(path, beat=beat) if _create(path) else None


def _create(path: Path) -> bool:
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    except FileExistsError:
        return False
    with os.fdopen(file, "w", encoding="utf-8") as text:
        text.write(f"{socket.gethostname()} {os.getpid()}\n")
    return True


def _is_stale(path: Path, beat: float) -> bool:
    age = silence(path)
    return age is not None and age > MISSED * beat


def silence(path: Path) -> float | None:
    """Seconds since a file's last heartbeat, by the clock of the file server; None if it cannot be told."""
    probe = path.with_name(f".now-{uuid.uuid4().hex}")
    try:
        probe.touch()
        with path.open("rb") as file:  # opening asks the server: a network file system keeps old times
            return probe.stat().st_mtime - os.fstat(file.fileno()).st_mtime
    except OSError:
        return None
    finally:
        with suppress(OSError):
            probe.unlink(missing_ok=True)


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.lstat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
