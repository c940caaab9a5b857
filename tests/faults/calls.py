"""Every call of ours into the operating system: recorded, and made to fail.

Ours is a call below a folder with a frame of `rm_monitor` on the stack. Files that Python writes through its
own buffers are opened unbuffered at the bottom, so that their reads, writes and closes are seen too.
"""

from __future__ import annotations

import builtins
import errno
import fcntl
import io
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import rm_monitor

ERRORS = ("EIO", "ESTALE", "EACCES", "ENOSPC", "EMFILE", "EINTR")
BY_PATH = (
    *("stat", "lstat", "open", "listdir", "scandir", "mkdir", "rmdir", "unlink", "remove", "rename"),
    *("replace", "link", "symlink", "readlink", "utime", "chmod", "access", "statvfs"),
)
BY_FILE = ("fstat", "read", "pread", "write", "fsync", "fdatasync", "ftruncate")
_OURS = str(Path(rm_monitor.__file__).parent) + os.sep
_readlink = os.readlink


@dataclass
class Calls:
    """What is seen, and which of it fails.

    Args:
        under: Folders whose calls are seen.
        fails: Says whether a call fails, by its place (``"stat keeper.py:_folders"``) and how often that
            place was reached before.
        error: Name of the error it fails with.
    """

    under: tuple[str, ...]
    fails: Callable[[str, int], bool] = lambda place, before: False
    error: str = "EIO"
    seen: Counter[str] = field(default_factory=Counter)
    failed: list[str] = field(default_factory=list)
    paused: bool = False

    def __call__(self, name: str, path: Any) -> None:
        """A call is about to be made.

        Raises:
            OSError: If it is one that fails.
        """
        if self.paused:
            return
        where = self._where(path)
        if where is None or not where.startswith(self.under):
            return
        place = _place()
        if place is None:
            return
        place = f"{name} {place}"
        before, self.seen[place] = self.seen[place], self.seen[place] + 1
        if self.fails(place, before):
            self.failed.append(place)
            raise OSError(getattr(errno, self.error), os.strerror(getattr(errno, self.error)), where)

    def _where(self, path: Any) -> str | None:
        try:
            if isinstance(path, int):
                return _readlink(f"/proc/self/fd/{path}")
            if hasattr(path, "fileno"):
                return _readlink(f"/proc/self/fd/{path.fileno()}")
            return os.path.abspath(os.fsdecode(path))
        except (OSError, TypeError, ValueError):
            return None


class _Raw(io.FileIO):
    """A file whose reads, writes and close are seen."""

    calls: Calls

    def readinto(self, into: Any) -> Any:
        self.calls("read", self.fileno())
        return super().readinto(into)

    def readall(self) -> Any:
        self.calls("read", self.fileno())
        return super().readall()

    def write(self, data: Any) -> Any:
        self.calls("write", self.fileno())
        return super().write(data)

    def close(self) -> None:
        if not self.closed:
            path = self.fileno()
            try:
                self.calls("close", path)
            finally:  # the kernel lets go of it, whatever it answers
                super().close()


@contextmanager
def watched(calls: Calls) -> Iterator[Calls]:
    """See, and let fail, what is called inside."""
    real: list[tuple[Any, str, Any]] = []

    def put(owner: Any, name: str, made: Any) -> None:
        real.append((owner, name, getattr(owner, name)))
        setattr(owner, name, made)

    def wrap(owner: Any, name: str) -> None:
        original = getattr(owner, name)

        def call(path: Any, *args: Any, **kwargs: Any) -> Any:
            seen = path
            folder = kwargs.get("dir_fd", kwargs.get("src_dir_fd"))
            if folder is not None and not calls.paused:
                seen = os.path.join(_readlink(f"/proc/self/fd/{folder}"), os.fsdecode(path))
            calls(name, seen)
            return original(path, *args, **kwargs)

        put(owner, name, call)

    for name in (*BY_PATH, *BY_FILE):
        wrap(os, name)
    wrap(fcntl, "flock")
    opened = io.open

    def open_(file: Any, mode: str = "r", buffering: int = -1, *args: Any, **kwargs: Any) -> Any:
        if calls.paused or _place() is None or "opener" in kwargs:
            return opened(file, mode, buffering, *args, **kwargs)
        calls("open", file)
        raw = type("Raw", (_Raw,), {"calls": calls})(file, mode.replace("b", "").replace("t", ""))
        kinds = {
            "r": io.BufferedReader,
            "w": io.BufferedWriter,
            "a": io.BufferedWriter,
            "x": io.BufferedWriter,
        }
        buffered = (io.BufferedRandom if "+" in mode else kinds[mode.strip("bt")[0]])(raw)
        if "b" in mode:
            return raw if buffering == 0 else buffered
        return io.TextIOWrapper(buffered, *args, **kwargs)

    put(io, "open", open_)
    put(builtins, "open", open_)
    for owner, name in ((os.path, "isdir"), (os.path, "isfile"), (os.path, "exists")):
        wrap_stat(put, owner, name, calls)
    try:
        yield calls
    finally:
        for owner, name, original in reversed(real):
            setattr(owner, name, original)


def wrap_stat(put: Any, owner: Any, name: str, calls: Calls) -> None:
    """Newer Pythons ask the kernel in C: what they make of an error is False."""
    original = getattr(owner, name)
    if original.__module__ == "genericpath":  # asks `os.stat`, which is seen
        return

    def call(path: Any) -> Any:
        try:
            calls("stat", path)
        except OSError:
            return False
        return original(path)

    put(owner, name, call)


def _place() -> str | None:
    """File and function of ours that makes the call; None if it is not ours."""
    frame = sys._getframe(2)
    while frame is not None:
        file = frame.f_code.co_filename
        if file.startswith(_OURS):
            name = file[len(_OURS) :].removesuffix(".py")
            return f"{name}:{frame.f_code.co_name}"
        frame = frame.f_back  # type: ignore[assignment]
    return None
