"""The curve on disk: append-only, checksummed, healed at open, one writer.

``history.jsonl`` holds one line an evaluation: ``<crc32> <json>``. The completions and values of an
evaluation are written and synced to
``rows/`` first, so an evaluation counts only when its line, its end record, is there. A resumed process
starts a new *attempt*; points that
lie beyond the step it resumes from are superseded, never deleted.
"""

from __future__ import annotations

import fcntl
import json
import logging
import math
import os
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from rm_monitor.errors import StoreError, StoreLockedError
from rm_monitor.types import Completion, Estimate, EvalPoint, FloatArray, Table

__all__ = ["History"]

log = logging.getLogger("rm_monitor")

SCHEMA = 1
LONGEST_TEXT = 32_768  # characters of a completion that are kept; its full length is kept beside it


class History:
    """A run's points and their rows.

    Args:
        folder: ``<output_dir>/_rm_monitor``.

    Raises:
        StoreLockedError: If another process writes there.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.path = self.folder / "history.jsonl"
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "rows").mkdir(exist_ok=True)
        self._lock = _locked(self.folder / "run.lock")
        self._attempt = 0
        self._waiting: list[tuple[EvalPoint, Table | None]] = []
        _heal(self.path)

    def begin(self, resume_step: int | None) -> int:
        """Start a new attempt.

        Args:
            resume_step: Step that training resumes from: later points are superseded. None: a fresh run;
                all are.

        Returns:
            The attempt's number, from 0.
        """
        attempts = [record["attempt"] for record in _records(self.path)]
        self._attempt = max(attempts, default=-1) + 1
        if attempts:
            self._write({"kind": "attempt", "attempt": self._attempt, "resume_step": resume_step})
        return self._attempt

    def append(self, point: EvalPoint, table: Table | None) -> None:
        """Make an evaluation durable: rows first, then its line.

        If the disk refuses, it is kept in memory and tried again with the next one.

        Raises:
            StoreError: If it could not be written now.
        """
        self._waiting.append((point, table))
        try:
            while self._waiting:
                self._append(*self._waiting[0])
                self._waiting.pop(0)
        except OSError as problem:
            waiting = len(self._waiting)
            raise StoreError(f"{self.path}: {problem}; {waiting} evaluation(s) wait in memory") from problem

    def points(self) -> list[EvalPoint]:
        """The living points in order of step: the last attempt's word on each, nothing beyond a rollback."""
        return self.read(self.folder)

    @staticmethod
    def read(folder: str | Path) -> list[EvalPoint]:
        """The same without writing or locking: for readers beside a running job."""
        folder = Path(folder)
        living: dict[int, dict[str, Any]] = {}
        for record in _records(folder / "history.jsonl"):
            if record["kind"] == "attempt":
                resume = record["resume_step"]
                living = {s: r for s, r in living.items() if resume is not None and s <= resume}
            elif record["kind"] == "evaluation":
                living[record["step"]] = record
        points = [_point(living[step], folder) for step in sorted(living)]
        return [point for point in points if point is not None]

    def table(self, step: int) -> Table | None:
        """Completions and values of a living point; None if it failed or its rows are damaged."""
        return self.read_table(self.folder, step)

    @staticmethod
    def read_table(folder: str | Path, step: int) -> Table | None:
        """The same without a lock."""
        found = None
        for record in _records(Path(folder) / "history.jsonl"):
            if record["kind"] == "evaluation" and record["step"] == step:
                found = record
        return None if found is None or not found["rows"] else _read_rows(Path(folder), found)

    def write_manifest(self, facts: Mapping[str, Any]) -> None:
        """Replace ``manifest.json`` atomically."""
        _replace(self.folder / "manifest.json", json.dumps(facts, indent=1, sort_keys=True) + "\n")

    def close(self) -> None:
        """Let another process write."""
        _unlock(self.folder / "run.lock", self._lock)

    def _append(self, point: EvalPoint, table: Table | None) -> None:
        rows = None if table is None else self._write_rows(point, table)
        record = {
            "kind": "evaluation",
            "step": point.step,
            "attempt": self._attempt,
            "segment": point.segment,
            "status": point.status,
            "reason": point.reason,
            "metrics": {name: list(e) for name, e in point.metrics.items()},
            "measured": dict(point.measured),
            "rows": rows,
        }
        self._write(record)

    def _write_rows(self, point: EvalPoint, table: Table) -> dict[str, Any]:
        lines = []
        for i, completions in enumerate(table.completions):
            for j, completion in enumerate(completions):
                kept = asdict(replace(completion, text=completion.text[:LONGEST_TEXT]))
                values = {name: _plain(x[i, j]) for name, x in table.values.items()}
                extra = {"characters": len(completion.text)} if len(completion.text) > LONGEST_TEXT else {}
                lines.append(_line({**kept, **extra, "values": values}))
        name = f"rows/{self._attempt}-{point.step}.jsonl"
        data = "".join(lines).encode("ascii")
        _replace(self.folder / name, data.decode("ascii"))
        return {"file": name, "n": len(lines), "k": len(table.completions[0]), "crc": zlib.crc32(data)}

    def _write(self, record: Mapping[str, Any]) -> None:
        """One write, one sync: a crash leaves at most a torn last line, which opening heals."""
        file = os.open(
            self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o644
        )
        try:
            before = os.fstat(file).st_size
            data = _line({"schema": SCHEMA, **record}).encode("ascii")
            if os.write(file, data) != len(data):
                os.ftruncate(file, before)
                raise OSError(f"only part of a line was written to {self.path}: is the disk full?")
            os.fdatasync(file)
        finally:
            os.close(file)


def _point(record: Mapping[str, Any], folder: Path) -> EvalPoint | None:
    """A point with the per-prompt values read back; without them if the rows are damaged."""
    point = EvalPoint(
        step=record["step"],
        metrics={
            name: Estimate(_number(e[0]), _number(e[1]), _number(e[2]), int(e[3]))
            for name, e in record["metrics"].items()
        },
        status=record["status"],
        reason=record["reason"],
        segment=record["segment"],
        measured={name: _number(x) for name, x in record["measured"].items()},
        attempt=record["attempt"],
    )
    table = _read_rows(folder, record) if record["rows"] else None
    if table is None:
        if record["rows"]:
            log.warning("rows of step %d are damaged: it is shown, not compared", record["step"])
            return replace(point, status="partial", reason="its rows on disk are damaged")
        return point
    return replace(point, prompt_ids=table.prompt_ids, values={n: _mean(x) for n, x in table.values.items()})


def _mean(x: FloatArray) -> FloatArray:
    known = ~np.isnan(x)
    count = known.sum(axis=1)
    return np.where(count > 0, np.where(known, x, 0.0).sum(axis=1) / np.maximum(count, 1), np.nan)


def _read_rows(folder: Path, record: Mapping[str, Any]) -> Table | None:
    rows = record["rows"]
    try:
        data = (folder / rows["file"]).read_bytes()
        if zlib.crc32(data) != rows["crc"]:
            return None
    except OSError:
        return None
    read = [row for row in (_parse(line) for line in data.decode("ascii").splitlines()) if row is not None]
    k = rows["k"]
    names = read[0]["values"] if read else {}
    shape = (len(read) // k, k)
    values = {n: np.array([_number(r["values"][n]) for r in read]).reshape(shape) for n in names}
    completions = [_completion(row) for row in read]
    groups = tuple(tuple(completions[i : i + k]) for i in range(0, len(completions), k))
    return Table(prompt_ids=tuple(g[0].prompt_id for g in groups), completions=groups, values=values)


def _completion(row: Mapping[str, Any]) -> Completion:
    return Completion(
        prompt_id=row["prompt_id"],
        text=row["text"],
        sample=row["sample"],
        finish_reason=row["finish_reason"],
        n_tokens=row["n_tokens"],
        entropy=_number(row["entropy"]),
        top10_mass=_number(row["top10_mass"]),
    )


def _records(path: Path) -> Iterator[dict[str, Any]]:
    """Every undamaged line."""
    try:
        text = path.read_bytes().decode("ascii", errors="replace")
    except FileNotFoundError:
        return
    for number, line in enumerate(text.splitlines(), 1):
        record = _parse(line)
        if record is None or record.get("schema") != SCHEMA:
            log.warning("%s line %d is damaged and left out", path, number)
        else:
            yield record


def _line(record: Mapping[str, Any]) -> str:
    """``crc32 json``; nan and infinities are written as text, for JSON has none."""
    body = json.dumps(_plain(record), ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return f"{zlib.crc32(body.encode('ascii')):08x} {body}\n"


def _parse(line: str) -> dict[str, Any] | None:
    crc, _, body = line.partition(" ")
    try:
        if int(crc, 16) != zlib.crc32(body.encode("ascii")):
            return None
        record = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, (float, np.floating)):
        return float(value) if math.isfinite(value) else str(float(value))
    return value


def _number(value: Any) -> float:
    return float(value)


def _replace(path: Path, text: str) -> None:
    """Write a file so that a crash leaves either the old one or the new one."""
    temporary = path.with_name(path.name + ".tmp")
    with temporary.open("w", encoding="utf-8", newline="\n") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def _heal(path: Path) -> None:
    """End a torn last line, so that the next record starts on a line of its own."""
    if path.is_file() and path.stat().st_size:
        with path.open("rb+") as file:
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                file.write(b"\n")


_held: dict[Path, int] = {}  # locks of this process


def _locked(path: Path) -> int:
    """Hold a lock that the system lets go of when the process dies, so it can never be stale.

    A monitor that is made again in the same process, as in a notebook cell that is run twice, takes it over.
    """
    path = path.resolve()
    mine = _held.pop(path, -1)
    if mine >= 0:
        os.close(mine)
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as problem:
        os.close(file)
        raise StoreLockedError(
            f"another process writes to {path.parent}: give this run its own `output_dir`, or stop the other"
        ) from problem
    _held[path] = file
    return file


def _unlock(path: Path, file: int) -> None:
    if _held.get(path.resolve()) == file:
        os.close(_held.pop(path.resolve()))
