"""Scores kept across runs and processes: content-addressed, in SQLite, always disposable.

A key is a hash of everything a score depends on, so a kept score is never stale, only unknown. Beside each
score is the model that gave it, whose facts tell a person why a key was missed. Any trouble with the file
(locked, damaged, read-only, full, somebody else's) means fewer hits, never a failed evaluation.
"""

from __future__ import annotations

import hashlib
import logging
import os
import sqlite3
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, TypeVar

from rm_monitor.files.places import cache_folder
from rm_monitor.files.strict_json import dumps, loads, number

__all__ = ["ScoreStore", "default_path"]

log = logging.getLogger("rm_monitor")

T = TypeVar("T")

VERSION = 2  # of the tables; a file of another version is begun again
_TABLES = (
    "create table if not exists scores (key blob primary key, value text not null, crc integer not null, "
    "model blob not null, day integer not null) without rowid",
    "create table if not exists models (id blob primary key, facts text not null) without rowid",
    f"pragma user_version={VERSION}",
)
DAY = 86_400  # seconds
_MANY = 500  # SQLite takes so many variables in one statement everywhere
_REMOTE = {  # file systems of several machines; `fuse.sshfs` and its like count too
    *("nfs", "nfs4", "cifs", "smb3", "smbfs", "lustre", "gpfs", "beegfs", "ceph", "glusterfs", "9p"),
    *("afs", "fuse", "orangefs", "wekafs", "panfs"),
}


def default_path() -> Path:
    """The file in `rm_monitor.files.places.cache_folder`."""
    return cache_folder() / "scores.sqlite"


class ScoreStore:
    """Values by 16-byte key; opened when first used; it need not be closed.

    Args:
        path: The file; None: `default_path`.
        patience: Seconds to wait for another process that writes, before going on without the file.

    Example:
        >>> store = ScoreStore(":memory:")
        >>> store.put({b"k" * 16: {"reward": 1.5}})
        >>> store.get([b"k" * 16, b"x" * 16])
        {b'kkkkkkkkkkkkkkkk': {'reward': 1.5}}
    """

    def __init__(self, path: str | Path | None = None, *, patience: float = 30.0) -> None:
        self.path = Path(path) if path is not None and path != ":memory:" else path or default_path()
        self._patience = patience
        self._connection: sqlite3.Connection | None = None
        self._owner = 0

    def get(self, keys: Sequence[bytes]) -> dict[bytes, dict[str, float]]:
        """What is known of these keys; damaged rows are unknown."""

        def look(connection: sqlite3.Connection) -> dict[bytes, dict[str, float]]:
            found: dict[bytes, dict[str, float]] = {}
            for start in range(0, len(keys), _MANY):
                part = list(keys[start : start + _MANY])
                marks = ",".join("?" * len(part))
                rows = connection.execute(f"select key, value, crc from scores where key in ({marks})", part)
                found |= {key: value for row in rows for key, value in _whole(*row)}
            return found

        return self._do("read", look) or {}

    def put(
        self, values: Mapping[bytes, Mapping[str, float]], *, model: Mapping[str, str] | None = None
    ) -> None:
        """Keep these; what another process kept first stays.

        Args:
            values: By key.
            model: Facts of the model that gave them, for people and for `rm-monitor cache`.
        """
        facts = dumps(model or {}, sort=True)
        name = hashlib.blake2b(facts.encode(), digest_size=16).digest()
        today = int(time.time() // DAY)
        rows = []
        for key, value in values.items():
            text = dumps(value, sort=True)
            rows.append((key, text, checksum(key, text), name, today))
        self.change("insert or ignore into models values (?, ?)", [(name, facts)])
        self.change("insert or ignore into scores values (?, ?, ?, ?, ?)", rows)

    def drop(self, keys: Sequence[bytes]) -> None:
        """Forget these."""
        self.change("delete from scores where key = ?", [(key,) for key in keys])

    def __len__(self) -> int:
        """Scores kept; 0 if the file cannot be read."""

        def count(connection: sqlite3.Connection) -> int:
            return int(connection.execute("select count(*) from scores").fetchone()[0])

        return self._do("read", count) or 0

    def change(self, statement: str, rows: Sequence[tuple[object, ...]]) -> int:
        """Run one statement for each row, all or nothing; rows of the table it changed."""

        def work(connection: sqlite3.Connection) -> int:
            before = connection.total_changes
            connection.execute("begin immediate")
            try:
                connection.executemany(statement, rows)
            except BaseException:
                connection.execute("rollback")
                raise
            connection.execute("commit")
            return connection.total_changes - before

        return self._do("written", work) or 0

    def _do(self, what: str, work: Callable[[sqlite3.Connection], T]) -> T | None:
        """The work's result; whatever is in the file, it costs hits and nothing else."""
        for _ in range(2):  # the second time with what `_trouble` found to go on with
            try:
                return work(self.open())
            except Exception as problem:
                self._trouble(what, problem)
        return None

    def open(self) -> sqlite3.Connection:
        """The connection, made when it is first needed and again in a forked process."""
        if self._connection is None or self._owner != os.getpid():  # a connection must not cross a fork
            if isinstance(self.path, Path):
                self.path.parent.mkdir(parents=True, exist_ok=True)
            self._connection, self._owner = _connect(self.path, self._patience), os.getpid()
        return self._connection

    def close(self) -> None:
        """Let go of the file; it is opened again when it is needed."""
        connection, self._connection = self._connection, None
        if connection is not None and self._owner == os.getpid():
            with suppress(sqlite3.Error):
                connection.close()

    def _trouble(self, what: str, problem: Exception) -> None:
        """Go on without: what is no cache of ours is put aside; else in memory for this process."""
        self.close()
        damaged = isinstance(problem, sqlite3.DatabaseError) and not isinstance(
            problem, sqlite3.OperationalError
        )
        if damaged and isinstance(self.path, Path) and _put_aside(self.path, problem):
            return
        log.warning(
            "rm_monitor: the score cache %s cannot be %s (%s: %s); scores are kept in memory",
            self.path,
            what,
            type(problem).__name__,
            problem,
        )
        self.path = ":memory:"


def _whole(key: Any, value: Any, crc: Any) -> Iterator[tuple[bytes, dict[str, float]]]:
    """A row, if it is one that was written."""
    if not (isinstance(key, bytes) and isinstance(value, str)):
        return
    try:
        if checksum(key, value) == crc:
            yield key, {str(name): number(x) for name, x in loads(value).items()}
    except (ValueError, TypeError, AttributeError, RecursionError):
        return


def _put_aside(path: Path, why: Exception) -> bool:
    """Rename a file that cannot be used; its side files must not be taken for those of the next one."""
    aside = path.with_name(f"{path.name}.corrupt-{time.time_ns()}")
    try:
        for ending in ("-wal", "-shm", "-journal"):
            path.with_name(path.name + ending).unlink(missing_ok=True)
        os.replace(path, aside)
    except OSError:
        return False
    log.warning("rm_monitor: the score cache lies now at %s and a new one is begun: %s", aside, why)
    return True


def _connect(path: Path | str, patience: float) -> sqlite3.Connection:
    """A connection to a file that holds our tables and can be written and read."""
    remote = isinstance(path, Path) and _is_remote(path)
    if isinstance(path, Path) and not path.exists():
        with suppress(OSError):  # no hard links there: the file is begun where it lies
            _begin_file(path, "delete" if remote else "wal")
    connection = _opened(path, patience)
    try:
        _prepare(connection, "delete" if remote else None)
    except BaseException:
        connection.close()
        raise
    return connection


def _opened(path: Path | str, patience: float) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=patience, isolation_level=None, check_same_thread=False)
    connection.execute("pragma synchronous=normal")
    return connection


def _begin_file(path: Path, mode: str) -> None:
    """Make a new file beside its place and link it there whole: of many who begin one, the first wins.

    Made in place, a second process would find it locked, or with half of its tables.
    """
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f"{path.name}.new-") as folder:
        whole = Path(folder) / path.name
        # some file systems take WAL and fail at its first use
        for journal in dict.fromkeys((mode, "delete")):
            with closing(_opened(whole, 0)) as connection, suppress(sqlite3.OperationalError):
                _prepare(connection, journal)
                break
            whole.unlink(missing_ok=True)
        with suppress(FileExistsError):
            os.link(whole, path)


def _prepare(connection: sqlite3.Connection, mode: str | None) -> None:
    """Choose the journal, if it is to be another, and try it: a write, and a read of what was written."""
    if mode and connection.execute("pragma journal_mode").fetchone() != (mode,):
        connection.execute(f"pragma journal_mode={mode}")
    _make_tables(connection)
    probe = (b"probe", "{}", 0, b"", 0)
    connection.execute("begin immediate")
    connection.execute("insert or replace into scores values (?, ?, ?, ?, ?)", probe)
    connection.execute("delete from scores where key = ?", probe[:1])
    connection.execute("commit")
    connection.execute("select key, value, crc from scores limit 1").fetchone()


def _make_tables(connection: sqlite3.Connection) -> None:
    """The tables of this version.

    Raises:
        sqlite3.DatabaseError: If the file holds something else.
    """
    (version,) = connection.execute("pragma user_version").fetchone()
    (tables,) = connection.execute("select count(*) from sqlite_master").fetchone()
    if tables and version != VERSION:
        raise sqlite3.DatabaseError(f"tables of another program, or of another version ({version})")
    if not tables:
        for statement in _TABLES:
            connection.execute(statement)


def checksum(key: bytes, text: str) -> int:
    """Notices a flipped bit in a row."""
    return zlib.crc32(key + text.encode())


def _is_remote(path: Path) -> bool:
    """Whether a file lies where several machines see it: SQLite's write-ahead log needs shared memory."""
    try:
        mounts = [line.split() for line in Path("/proc/self/mountinfo").read_text("utf-8").splitlines()]
    except OSError:
        return False
    where = os.path.realpath(path.parent)
    kinds = {m[4]: m[m.index("-") + 1] for m in mounts if "-" in m}
    over = [point for point in kinds if where == point or where.startswith(point.rstrip("/") + "/")]
    return bool(over) and kinds[max(over, key=len)].split(".")[0] in _REMOTE
