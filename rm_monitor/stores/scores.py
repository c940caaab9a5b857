"""Scores kept across runs and processes: content-addressed, in SQLite, always disposable.

A key is a hash of everything a score depends on, so a kept score is never stale, only unknown. Any trouble
with the file
means fewer hits, never a failed evaluation.
"""

from __future__ import annotations

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

_TABLE = (
    "create table if not exists scores "
    "(key blob primary key, value text not null, crc integer not null) without rowid"
)
_MANY = 500  # SQLite takes so many variables in one statement everywhere


def default_path() -> Path:
    """``$RM_MONITOR_CACHE``, else the user's cache directory."""
    given = os.environ.get("RM_MONITOR_CACHE")
    if given:
        return Path(given) / "scores.sqlite"
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "rm_monitor" / "scores.sqlite"


class ScoreStore:
    """Values by 16-byte key; opened when first used, closed never: SQLite survives that.

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
            connection = self._open()
            for start in range(0, len(keys), _MANY):
                part = list(keys[start : start + _MANY])
                marks = ",".join("?" * len(part))
                for key, value, crc in connection.execute(
                    f"select key, value, crc from scores where key in ({marks})", part
                ):
                    if zlib.crc32(bytes(key) + value.encode()) == crc:
                        found[bytes(key)] = json.loads(value)
        except (sqlite3.Error, OSError, ValueError) as problem:
            self._trouble("read", problem)
        return found

    def put(self, values: Mapping[bytes, Mapping[str, float]]) -> None:
        """Keep these; what another process kept first stays."""
        rows = []
        for key, value in values.items():
            text = json.dumps(dict(value), sort_keys=True)
            rows.append((key, text, zlib.crc32(key + text.encode())))
        self._change("insert or ignore into scores values (?, ?, ?)", rows)

    def drop(self, keys: Sequence[bytes]) -> None:
        """Forget these."""
        self._change("delete from scores where key = ?", [(key,) for key in keys])

    def __len__(self) -> int:
        """Scores kept; 0 if the file cannot be read."""
        try:
            (n,) = self._open().execute("select count(*) from scores").fetchone()
        except (sqlite3.Error, OSError) as problem:
            self._trouble("read", problem)
            return 0
        return int(n)

    def _change(self, statement: str, rows: Sequence[tuple[object, ...]]) -> None:
        try:
            connection = self._open()
            connection.execute("begin immediate")
            connection.executemany(statement, rows)
            connection.execute("commit")
        except (sqlite3.Error, OSError) as problem:
            self._trouble("written", problem)

    def _open(self) -> sqlite3.Connection:
        if self._connection is None or self._owner != os.getpid():  # a connection must not cross a fork
            if isinstance(self.path, Path):
                self.path.parent.mkdir(parents=True, exist_ok=True)
            self._connection, self._owner = _connect(self.path), os.getpid()
        return self._connection

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
        connection.execute(_TABLE)
        connection.execute("select count(*) from (select 1 from scores limit 1)").fetchone()
    except sqlite3.OperationalError:  # some network file systems accept the mode and fail at its first use
        connection.execute("pragma journal_mode=delete")
        connection.execute(_TABLE)
    return connection
