"""Scores kept across runs and processes: content-addressed, in SQLite, always disposable.

A key is a hash of everything a score depends on, so a kept score is never stale, only unknown. Beside each
score is the model that gave it, whose facts tell a person why a key was missed. Any trouble with the file
means fewer hits, never a failed evaluation.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import sqlite3
import time
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

__all__ = ["ScoreStore", "default_path"]

log = logging.getLogger("rm_monitor")

VERSION = 2  # of the tables; a file of another version is begun again
_TABLES = (
    "create table if not exists scores (key blob primary key, value text not null, crc integer not null, "
    "model blob not null, day integer not null) without rowid",
    "create table if not exists models (id blob primary key, facts text not null) without rowid",
    f"pragma user_version={VERSION}",
)
DAY = 86_400  # seconds
_MANY = 500  # SQLite takes so many variables in one statement everywhere


def default_path() -> Path:
    """``$RM_MONITOR_CACHE``, else the user's cache directory."""
    given = os.environ.get("RM_MONITOR_CACHE")
    if given:
        return Path(given) / "scores.sqlite"
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "rm_monitor" / "scores.sqlite"


class ScoreStore:
    """Values by 16-byte key; opened when first used; it need not be closed.

    Args:
        path: The file; None: `default_path`.

    Example:
        >>> store = ScoreStore(":memory:")
        >>> store.put({b"k" * 16: {"reward": 1.5}})
        >>> store.get([b"k" * 16, b"x" * 16])
        {b'kkkkkkkkkkkkkkkk': {'reward': 1.5}}
    """

    def __init__(self, path: str | Path | None = None) -> None:
        self.path = Path(path) if path is not None and path != ":memory:" else path or default_path()
        self._connection: sqlite3.Connection | None = None
        self._owner = 0

    def get(self, keys: Sequence[bytes]) -> dict[bytes, dict[str, float]]:
        """What is known of these keys; damaged rows are unknown."""
        found: dict[bytes, dict[str, float]] = {}
        try:
            connection = self.open()
            for start in range(0, len(keys), _MANY):
                part = list(keys[start : start + _MANY])
                marks = ",".join("?" * len(part))
                for key, value, crc in connection.execute(
                    f"select key, value, crc from scores where key in ({marks})", part
                ):
                    if checksum(bytes(key), value) == crc:
                        found[bytes(key)] = json.loads(value)
        except (sqlite3.Error, OSError, ValueError) as problem:
            self._trouble("read", problem)
        return found

    def put(
        self, values: Mapping[bytes, Mapping[str, float]], *, model: Mapping[str, str] | None = None
    ) -> None:
        """Keep these; what another process kept first stays.

        Args:
            values: By key.
            model: Facts of the model that gave them, for people and for `rm-monitor cache`.
        """
        facts = json.dumps(dict(model or {}), sort_keys=True)
        name = hashlib.blake2b(facts.encode(), digest_size=16).digest()
        today = int(time.time() // DAY)
        rows = []
        for key, value in values.items():
            text = json.dumps(dict(value), sort_keys=True)
            rows.append((key, text, checksum(key, text), name, today))
        self.change("insert or ignore into models values (?, ?)", [(name, facts)])
        self.change("insert or ignore into scores values (?, ?, ?, ?, ?)", rows)

    def drop(self, keys: Sequence[bytes]) -> None:
        """Forget these."""
        self.change("delete from scores where key = ?", [(key,) for key in keys])

    def __len__(self) -> int:
        """Scores kept; 0 if the file cannot be read."""
        try:
            (n,) = self.open().execute("select count(*) from scores").fetchone()
        except (sqlite3.Error, OSError) as problem:
            self._trouble("read", problem)
            return 0
        return int(n)

    def change(self, statement: str, rows: Sequence[tuple[object, ...]]) -> int:
        """Run one statement for each row, all or nothing; rows of the table it changed."""
        try:
            connection = self.open()
            before = connection.total_changes
            connection.execute("begin immediate")
            try:
                connection.executemany(statement, rows)
            except BaseException:
                connection.execute("rollback")
                raise
            connection.execute("commit")
            return connection.total_changes - before
        except (sqlite3.Error, OSError) as problem:
            self._trouble("written", problem)
            return 0

    def open(self) -> sqlite3.Connection:
        """The connection, made when it is first needed and again in a forked process."""
        if self._connection is None or self._owner != os.getpid():  # a connection must not cross a fork
            if isinstance(self.path, Path):
                self.path.parent.mkdir(parents=True, exist_ok=True)
            self._connection, self._owner = _connect(self.path), os.getpid()
        return self._connection

    def close(self) -> None:
        """Let go of the file; it is opened again when it is needed."""
        if self._connection is not None and self._owner == os.getpid():
            self._connection.close()
        self._connection = None

    def _trouble(self, what: str, problem: Exception) -> None:
        """Go on without: in memory for the rest of this process; a damaged file is put aside."""
        damaged = isinstance(problem, sqlite3.DatabaseError) and not isinstance(
            problem, sqlite3.OperationalError
        )
        if damaged and isinstance(self.path, Path) and self.path.is_file():
            aside = self.path.with_name(f"{self.path.name}.corrupt-{time.time_ns()}")
            os.replace(self.path, aside)
            log.warning(
                "rm_monitor: the score cache was damaged and lies now at %s; a new one is begun", aside
            )
            self._connection = None
            return
        log.warning(
            "rm_monitor: the score cache %s cannot be %s (%s); scores are kept in memory",
            self.path,
            what,
            problem,
        )
        self.path, self._connection = ":memory:", None


def _connect(path: Path | str) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
    connection.execute("pragma synchronous=normal")
    try:
        connection.execute("pragma journal_mode=wal")
        _make_tables(connection)
        connection.execute("select count(*) from (select 1 from scores limit 1)").fetchone()
    except sqlite3.OperationalError:  # some network file systems accept the mode and fail at its first use
        connection.execute("pragma journal_mode=delete")
        _make_tables(connection)
    return connection


def _make_tables(connection: sqlite3.Connection) -> None:
    (version,) = connection.execute("pragma user_version").fetchone()
    if version != VERSION:  # new, or from another version of rm_monitor
        connection.execute("drop table if exists scores")
        connection.execute("drop table if exists models")
    for statement in _TABLES:
        connection.execute(statement)


def checksum(key: bytes, text: str) -> int:
    """Notices a flipped bit in a row."""
    return zlib.crc32(key + text.encode())
