"""The curve on disk: append-only, checksummed, one writer.

``history.jsonl`` holds one line an evaluation (`lines`). Its completions and values are written and synced
to ``rows/`` first, so an evaluation counts only when its line, its end record, is there.

What the file says does not depend on the order of its lines, on lines that come twice or on lines that are
lost: each has a number of its own (``seq``) and tells of every *attempt* so far and the step it resumed
from; ``attempts.jsonl`` tells the same a second time. Points that lie beyond a rollback are superseded,
never deleted.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from rm_monitor import files
from rm_monitor.errors import StoreError
from rm_monitor.files import lines
from rm_monitor.files.lock import Lock
from rm_monitor.files.strict_json import dumps, number
from rm_monitor.records.rows import read_rows, write_rows
from rm_monitor.types import Estimate, EvalPoint, FloatArray, Table

__all__ = ["History"]

log = logging.getLogger("rm_monitor")

SCHEMA = 3
MOST_WAITING = 16  # evaluations whose completions wait in memory for a disk that refuses


class History:
    """A run's points and their rows.

    A disk that refuses does not stop anything: what could not be written waits in memory and is tried again
    with the next evaluation.

    Args:
        folder: ``<output_dir>/_rm_monitor``.

    Raises:
        StoreLockedError: If another process writes there.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.path = self.folder / "history.jsonl"
        self._lock: Lock | None = None
        self._attempts: list[int | None] = []
        self._seq = 0
        self._waiting: list[tuple[EvalPoint, Table | None]] = []
        try:
            self._open()
        except OSError as problem:
            log.warning(
                "rm_monitor: %s cannot be written: %s; evaluations wait in memory", self.path, problem
            )

    def begin(self, resume_step: int | None) -> int:
        """Start a new attempt.

        Args:
            resume_step: Step that training resumes from: later points are superseded. None: a fresh run;
            all are.

        Returns:
            The attempt's number, from 0.
        """
        records = list(_records(self.path))
        before = _attempts(self.folder, records)
        self._attempts = [*before, resume_step] if before else [None]
        self._seq = max(max((r["seq"] + 1 for r in records), default=0), _count_lines(self.path))
        try:
            lines.append(
                self.folder / "attempts.jsonl",
                {"schema": SCHEMA, "seq": len(before), "attempts": self._attempts},
            )
        except OSError as problem:  # the next evaluation's line tells of the attempt too
            log.warning("rm_monitor: the new attempt could not be written to %s: %s", self.folder, problem)
        return len(before)

    def append(self, point: EvalPoint, table: Table | None) -> None:
        """Make an evaluation durable: rows first, then its line.

        Raises:
            StoreError: If it could not be written now; it is tried again with the next one.
        """
        self._waiting.append((point, table))
        try:
            self._flush()
        except OSError as problem:
            for i in range(
                len(self._waiting) - MOST_WAITING
            ):  # the line will be written, its rows are given up
                self._waiting[i] = (self._waiting[i][0], None)
            waiting = len(self._waiting)
            raise StoreError(f"{self.path}: {problem}; {waiting} evaluation(s) wait in memory") from problem

    def points(self) -> list[EvalPoint]:
        """The living points in order of step: the last attempt's word on each, nothing beyond a rollback."""
        return self.read(self.folder)

    @staticmethod
    def read(folder: str | Path) -> list[EvalPoint]:
        """The same without writing or locking: for readers beside a running job."""
        living = _living(Path(folder) / "history.jsonl")
        return [_point(living[step], Path(folder)) for step in sorted(living)]

    @staticmethod
    def read_bare(folder: str | Path) -> list[EvalPoint]:
        """The same without the values of the prompts, which lie in files of their own."""
        living = _living(Path(folder) / "history.jsonl")
        return [_bare(living[step]) for step in sorted(living)]

    def table(self, step: int) -> Table | None:
        """Completions and values of a living point; None if it failed or its rows are damaged."""
        return self.read_table(self.folder, step)

    @staticmethod
    def read_table(folder: str | Path, step: int) -> Table | None:
        """The same without a lock."""
        found = _living(Path(folder) / "history.jsonl").get(step)
        return None if found is None or not found["rows"] else read_rows(Path(folder), found["rows"])

    def write_manifest(self, facts: Mapping[str, Any]) -> None:
        """Replace ``manifest.json`` atomically."""
        files.replace(self.folder / "manifest.json", dumps(facts, indent=1, sort=True) + "\n")

    def close(self) -> None:
        """Write what waits, if the disk takes it now, and let another process write."""
        try:
            self._flush()
        except OSError as problem:
            log.warning(
                "rm_monitor: %d evaluation(s) are lost: %s: %s", len(self._waiting), self.path, problem
            )
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    # ------------------------------------------------------------------ writing

    def _open(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = Lock(self.folder)

    def _flush(self) -> None:
        while self._waiting:
            if self._lock is None:
                self._open()
            self._append(*self._waiting[0])
            self._waiting.pop(0)

    def _append(self, point: EvalPoint, table: Table | None) -> None:
        name = (
            f"rows/{point.step}-{self._seq}.jsonl"  # never an old one's: those stay until the line is there
        )
        lines.append(
            self.path,
            {
                "schema": SCHEMA,
                "seq": self._seq,
                "attempts": self._attempts,
                "step": point.step,
                "segment": point.segment,
                "status": point.status,
                "reason": point.reason,
                "metrics": {name: list(e) for name, e in point.metrics.items()},
                "measured": dict(point.measured),
                "weights": point.weights,
                "rows": None if table is None else write_rows(self.folder, name, table),
            },
        )
        self._seq += 1


# ---------------------------------------------------------------------- reading


def _records(path: Path) -> Iterator[dict[str, Any]]:
    """Every line that is whole and of this schema."""
    for record in lines.read(path):
        if record.get("schema") != SCHEMA:
            log.warning("rm_monitor: a line of %s has schema %r, not %d", path, record.get("schema"), SCHEMA)
        elif isinstance(record.get("seq"), int) and isinstance(record.get("attempts"), list):
            yield record


def _attempts(folder: Path, records: Sequence[Mapping[str, Any]]) -> list[int | None]:
    """For every attempt so far, the step it resumed from; the line that knows of most tells of all."""
    told = [record["attempts"] for record in (*_records(folder / "attempts.jsonl"), *records)]
    return list(max(told, key=len, default=[]))


def _living(path: Path) -> dict[int, dict[str, Any]]:
    """Step -> the line that counts: not beyond a rollback, the newest of its step."""
    records = list(_records(path))
    attempts = _attempts(path.parent, records)
    living: dict[int, dict[str, Any]] = {}
    for record in sorted(records, key=lambda r: (len(r["attempts"]), r["seq"])):
        if _is_whole(record):
            later = attempts[len(record["attempts"]) :]
            if all(isinstance(resumed, int) and record["step"] <= resumed for resumed in later):
                living[record["step"]] = record
    return living


def _is_whole(record: Mapping[str, Any]) -> bool:
    """Whether a line, though its checksum fits, is one that we wrote."""
    try:
        _bare(record)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError):
        log.warning("rm_monitor: line %s of the history is not one of ours", record.get("seq"))
        return False
    return isinstance(record["step"], int)


def _bare(record: Mapping[str, Any]) -> EvalPoint:
    """A point without the values of its prompts."""
    return EvalPoint(
        step=record["step"],
        metrics={
            str(name): Estimate(number(value), number(low), number(high), int(n))
            for name, (value, low, high, n) in record["metrics"].items()
        },
        status=record["status"],
        reason=str(record["reason"]),
        segment=str(record["segment"]),
        measured={str(name): number(x) for name, x in record["measured"].items()},
        attempt=len(record["attempts"]) - 1,
        weights=str(record.get("weights", "")),  # lines of earlier versions do not tell
    )


def _point(record: Mapping[str, Any], folder: Path) -> EvalPoint:
    """A point with the per-prompt values read back; partial, and without them, if the rows are damaged."""
    point = _bare(record)
    if not record["rows"]:
        return point
    table = read_rows(folder, record["rows"])
    if table is None:
        log.warning("rm_monitor: rows of step %d are damaged: it is shown, not compared", record["step"])
        return replace(point, status="partial", reason="its rows on disk are damaged")
    return replace(point, prompt_ids=table.prompt_ids, values={n: _mean(x) for n, x in table.values.items()})


def _mean(x: FloatArray) -> FloatArray:
    known = ~np.isnan(x)
    count = known.sum(axis=1)
    return np.where(count > 0, np.where(known, x, 0.0).sum(axis=1) / np.maximum(count, 1), np.nan)


def _count_lines(path: Path) -> int:
    try:
        return path.read_bytes().count(b"\n")
    except OSError:
        return 0
