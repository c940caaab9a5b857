"""One writer a folder: a lock that cannot outlive its process.

The kernel's `flock` where the file system has it: it is let go of when the process dies, whatever it died
of. Elsewhere an owner file that says who holds it, with a heartbeat: a dead owner is noticed, on this machine
by its process, on another by its silence, and taken over from. A job that is requeued on another machine
starts at once, or after the few heartbeats that it takes to tell.
"""

from __future__ import annotations

import errno
import logging
import os
import socket
import time
from pathlib import Path
from typing import Any

from rm_monitor.errors import StoreLockedError
from rm_monitor.files.lease import BEAT, MISSED, Lease, silence
from rm_monitor.files.strict_json import dumps, read_object

try:
    import fcntl
except ImportError:  # pragma: no cover  Windows has no flock; the owner file serves there too
    fcntl = None  # type: ignore[assignment]

__all__ = ["Lock"]

log = logging.getLogger("rm_monitor")

_TAKEN = {errno.EAGAIN, errno.EWOULDBLOCK}  # EACCES is an expired ticket: `flock` does not say taken by it
_held: dict[Path, Lock] = {}  # of this process


class Lock:
    """Hold a folder.

    A monitor that is made again in the same process, as in a notebook cell that is run twice, takes it over.

    Args:
        folder: What only one process may write to.

    Raises:
        StoreLockedError: If another process writes there.
        OSError: If no file can be made there at all.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder.resolve() / "run.lock"
        self._file = -1
        mine = _held.pop(self._path, None)
        if mine is not None:
            mine.release()
        self._owner: Lease | None = None
        file = os.open(self._path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o644)
        try:
            if fcntl is None:
                raise OSError(errno.ENOTSUP, "no flock on this system")
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._file = file
        except OSError as problem:
            os.close(file)
            if problem.errno in _TAKEN:
                raise _refused(folder) from problem
            log.info("rm_monitor: no flock in %s (%s); an owner file is used", folder, problem)
            self._owner = _own(self._path.with_name("run.owner"), folder)
        _held[self._path] = self

    def release(self) -> None:
        """Let another process write."""
        if _held.get(self._path) is self:
            del _held[self._path]
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
        elif self._owner is not None:
            self._owner.release()
            self._owner = None


def _own(path: Path, folder: Path) -> Lease:
    """Write who we are into a file that must not be there yet; the file of a dead owner is put away first."""
    for _ in range(3):
        try:
            file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        except FileExistsError:
            owner = _read(path)
            if owner != _me() and _lives(owner, path):
                raise _refused(folder, path, owner) from None
            log.warning("rm_monitor: the lock of a process that is gone is taken over: %s", owner)
            path.unlink(missing_ok=True)
            continue
        with os.fdopen(file, "w", encoding="utf-8") as stream:
            stream.write(dumps(_me()))
        return Lease(path, beat=BEAT)
    raise _refused(folder)


def _me() -> dict[str, Any]:
    return {
        "host": socket.gethostname(),
        "boot": _text("/proc/sys/kernel/random/boot_id"),
        "pid": os.getpid(),
        "born": _born(os.getpid()),
    }


def _lives(owner: dict[str, Any] | None, path: Path) -> bool:
    """Whether an owner still runs; one on another machine is listened for, as long as it may be silent."""
    if owner is None or not isinstance(owner.get("pid"), int):
        return False
    if owner.get("host") != socket.gethostname():
        return _is_heard(owner, path)
    if owner.get("boot") != _text("/proc/sys/kernel/random/boot_id"):
        return False
    try:
        os.kill(owner["pid"], 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return bool(owner.get("born") == _born(owner["pid"]))  # else the number was given to another process


def _is_heard(owner: dict[str, Any], path: Path) -> bool:
    """Whether an owner on another machine gives a heartbeat; one that is long silent is not waited for."""
    first = silence(path)
    if first is None or first > MISSED * BEAT:
        return False
    log.warning(
        "rm_monitor: process %s on %s held this folder %.0f s ago: it is listened for, %.0f s at most",
        *(owner.get("pid"), owner.get("host"), first, MISSED * BEAT - first),
    )
    while first <= MISSED * BEAT:
        time.sleep(BEAT / 4)
        now = silence(path)
        if now is None:
            return False
        if now < first:  # it was heard
            return True
        first = now
    return False


def _born(pid: int) -> str:
    """When a process began, in ticks since boot; empty where the system does not tell."""
    told = _text(f"/proc/{pid}/stat").rpartition(")")[2].split()[19:20]
    return told[0] if told else ""  # also of a process that ended since it was asked for


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def _read(path: Path) -> dict[str, Any] | None:
    return read_object(path) or None


def _refused(folder: Path, path: Path | None = None, owner: dict[str, Any] | None = None) -> StoreLockedError:
    way_out = "give this run its own `output_dir`, or stop the other"
    if path is not None and owner is not None:
        way_out += f" (process {owner['pid']} on {owner.get('host')}); if it is gone, delete {path}"
    return StoreLockedError(f"another process writes to {folder}: {way_out}")


def _forget_in_child() -> None:
    """A forked child, such as a data loader's worker, must not keep the lock of a parent that died."""
    for lock in _held.values():
        if lock._file >= 0:
            os.close(lock._file)
            lock._file = -1
        lock._owner = None
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_in_child)
