"""Files of ours, written so that a crash leaves the old one or the new one, never half of one."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from pathlib import Path

__all__ = ["remove", "replace", "settle", "sync"]


def replace(path: str | Path, text: str) -> None:
    """Write a file beside the old one, make it durable, put it in its place.

    A link that lies where the new file is built is not followed.

    Raises:
        OSError: If the disk refuses; the old file is untouched.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp(), "best.json")
        >>> replace(path, "old"), replace(path, "new"), path.read_text()
        (None, None, 'new')
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.unlink(missing_ok=True)
    try:
        file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0), 0o644)
        with os.fdopen(file, "w", encoding="utf-8", newline="\n") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except OSError:
        with contextlib.suppress(OSError):  # what is left of it would only take space
            temporary.unlink(missing_ok=True)
        raise
    sync(path.parent)


def sync(folder: str | Path) -> None:
    """Make a folder's entries durable, where the file system knows how."""
    with contextlib.suppress(OSError):
        file = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(file)
        finally:
            os.close(file)


def settle(file: str | Path) -> None:
    """Make the contents of a file durable that somebody else wrote.

    Raises:
        OSError: If the disk refuses. A file system that does not know how is none that refuses.
    """
    opened = os.open(file, os.O_RDONLY)
    try:
        os.fsync(opened)
    except OSError as problem:
        if problem.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(opened)


def remove(path: str | Path) -> None:
    """Remove a file, a link or a folder, if it is there."""
    path = Path(path)
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
