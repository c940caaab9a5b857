"""One writer a folder: a lock that cannot outlive its process, and a heartbeat that says who holds it.

The kernel's `flock` where the file system has it: it is let go of when the process dies, whatever it died
of. Beside it lies an owner file with a heartbeat. It is the lock where there is no flock; where a file server
keeps the lock of a machine that is gone, as NFS does for minutes, it tells that the holder is silent. A dead
owner is noticed, on this machine by its process, on another by its silence, or because the scheduler started
the very job again. Nobody waits here: a lock that may be free soon is a `StoreBusyError`, which says when.
"""

from __future__ import annotations

import errno
import logging
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from rm_monitor.errors import StoreBusyError, StoreLockedError
from rm_monitor.files import owners
from rm_monitor.files.lease import BEAT, MISSED, Lease, silence
from rm_monitor.files.strict_json import dumps

try:
    import fcntl
except ImportError:  # pragma: no cover  Windows has no flock; the owner file serves there too
    fcntl = None  # type: ignore[assignment]

__all__ = ["Lock"]

log = logging.getLogger("rm_monitor")

SILENT = MISSED * BEAT  # seconds without a heartbeat after which an owner on another machine is gone
FORGETS = 300.0  # ... after which its flock, which the file server still keeps, counts for nothing
AGAIN = 10.0  # seconds until such a flock is asked for once more

_TAKEN = {errno.EAGAIN, errno.EWOULDBLOCK}  # EACCES is an expired ticket: `flock` does not say taken by it
_held: dict[Path, Lock] = {}  # of this process


class Lock:
    """Hold a folder.

    A monitor that is made again in the same process, as in a notebook cell that is run twice, takes it over.

    Args:
        folder: What only one process may write to.

    Raises:
        StoreBusyError: If the process that held it, on another machine, may be gone: ask again.
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
        owner = self._path.with_name("run.owner")
        file = os.open(self._path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o644)
        try:
            if fcntl is None:
                raise OSError(errno.ENOTSUP, "no flock on this system")
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._file = file
        except OSError as problem:
            os.close(file)
            if problem.errno in _TAKEN:
                _ask_owner(owner, folder, problem)
            else:
                log.info("rm_monitor: no flock in %s (%s); an owner file is used", folder, problem)
            self._owner = _own(owner, folder)
        else:
            self._owner = _say_owner(owner)
        _held[self._path] = self

    def release(self) -> None:
        """Let another process write."""
        if _held.get(self._path) is self:
            del _held[self._path]
        if self._owner is not None:
            with suppress(OSError):  # the file server is away: the heartbeat ends all the same
                self._owner.release()
            self._owner = None
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def _ask_owner(path: Path, folder: Path, problem: OSError) -> None:
    """Whether a flock that is taken is only what a file server still keeps of a machine that is gone.

    Raises:
        StoreLockedError: If its holder lives, or nobody knows who it is.
        StoreBusyError: If it is gone or may be: the server will let go of the lock.
    """
    owner = owners.read(path)
    if owner is None or owners.is_here(owner):
        raise _refused(folder) from problem
    if not _is_gone(owner, path, folder):
        raise _refused(folder, path, owner) from problem
    quiet = silence(path)
    if quiet is not None and quiet <= FORGETS:
        raise StoreBusyError(
            f"{folder} was held by process {owner.get('pid')} on {owner.get('host')}, which is gone, and the "
            "file server keeps its lock for now",
            again=AGAIN,
        ) from problem


def _say_owner(path: Path) -> Lease | None:
    """Who holds the flock, for others; one that cannot be written is no reason not to hold it."""
    new = path.with_name(f".{path.name}-{os.getpid()}")
    try:
        new.write_text(dumps(owners.me()), encoding="utf-8")
        os.replace(new, path)
        return Lease(path, beat=BEAT)
    except OSError as problem:
        log.debug("rm_monitor: %s cannot be written: %s", path, problem)
        return None


def _own(path: Path, folder: Path) -> Lease:
    """Write who we are into a file that must not be there yet; the file of a dead owner is put away first."""
    for _ in range(3):
        try:
            file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        except FileExistsError:
            owner = owners.read(path)
            if owner is not None and owner != owners.me() and not _is_gone(owner, path, folder):
                raise _refused(folder, path, owner) from None
            log.warning("rm_monitor: the lock of a process that is gone is taken over: %s", owner)
            path.unlink(missing_ok=True)
            continue
        with os.fdopen(file, "w", encoding="utf-8") as stream:
            stream.write(dumps(owners.me()))
        return Lease(path, beat=BEAT)
    raise _refused(folder)


def _is_gone(owner: dict[str, Any], path: Path, folder: Path) -> bool:
    """Whether an owner runs no more.

    Raises:
        StoreBusyError: If it was on another machine and was heard lately: in a moment it can be told.
    """
    if owners.is_here(owner):
        return not owners.runs_here(owner)
    if owners.is_same_job(owner):
        return True
    quiet = silence(path)
    if quiet is None or quiet > SILENT:
        return True
    raise StoreBusyError(
        f"{folder}: process {owner.get('pid')} on {owner.get('host')} gave a sign {quiet:.0f} s ago; whether "
        f"it is gone can be told {SILENT - quiet:.0f} s from now",
        again=SILENT - quiet,
    )


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
