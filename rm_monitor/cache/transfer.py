"""Scores of one machine carried to another: a JSONL file, each line with its own checksum."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rm_monitor.cache.maintenance import matching
from rm_monitor.cache.scores import ScoreStore, checksum
from rm_monitor.files.strict_json import dumps, loads

__all__ = ["export_scores", "import_scores"]

FORMAT = "rm_monitor scores 2"  # the first line of a file says so
_BATCH = 2_000


def export_scores(store: ScoreStore, path: str | Path, *, model: str = "") -> int:
    """Write scores to a JSONL file, gzipped if its name ends in ``.gz``; how many.

    Args:
        store: The cache.
        path: The file.
        model: Beginning of a model's id; empty: of all.
    """
    names = matching(store, model)
    count = 0
    with _opened(Path(path), "wt") as file:
        file.write(dumps({"format": FORMAT}) + "\n")
        for name in names:
            facts = store.open().execute("select facts from models where id = ?", (name,)).fetchone()
            head = {"model": name.hex(), "facts": loads(facts[0]) if facts else {}}
            file.write(dumps(head, sort=True) + "\n")
            rows = store.open().execute(
                "select key, value, crc, day from scores where model = ? order by key", (name,)
            )
            for key, value, crc, day in rows:
                if checksum(bytes(key), value) == crc:
                    file.write(dumps([bytes(key).hex(), value, crc, day]) + "\n")
                    count += 1
    return count


def import_scores(store: ScoreStore, path: str | Path) -> tuple[int, int]:
    """Add the scores of an exported file; what is kept here already stays.

    Returns:
        Scores added, scores in the file.

    Raises:
        ValueError: If a line of it is not as it was written; nothing before it is undone.
    """
    added = count = 0
    model = b""
    rows: list[tuple[Any, ...]] = []
    with _opened(Path(path), "rt") as file:
        for number, line in enumerate(file, 1):
            try:
                found = loads(line)
                if number == 1:
                    if found["format"] != FORMAT:
                        raise ValueError(f"its format is {found['format']!r}, not {FORMAT!r}")
                elif isinstance(found, dict):
                    model = bytes.fromhex(found["model"])
                    facts = dumps(found["facts"], sort=True)
                    store.change("insert or ignore into models values (?, ?)", [(model, facts)])
                else:
                    rows.append(_row(found, model))
                    count += 1
            except (ValueError, TypeError, KeyError) as problem:
                raise ValueError(f"line {number} of {path} is not an exported score: {problem}") from problem
            if len(rows) == _BATCH:
                added += store.change("insert or ignore into scores values (?, ?, ?, ?, ?)", rows)
                rows = []
    added += store.change("insert or ignore into scores values (?, ?, ?, ?, ?)", rows)
    return added, count


def _row(found: Any, model: bytes) -> tuple[Any, ...]:
    name, value, crc, day = found
    key = bytes.fromhex(name)
    if len(key) != 16 or not model or checksum(key, value) != crc:
        raise ValueError("its checksum does not fit")
    if not isinstance(loads(value), dict):
        raise ValueError("it holds no values")
    return key, value, crc, model, int(day)


@contextmanager
def _opened(path: Path, mode: str) -> Iterator[Any]:
    if path.suffix == ".gz":
        with gzip.open(path, mode, encoding="utf-8") as packed:
            yield packed
    else:
        with path.open(mode, encoding="utf-8") as plain:
            yield plain
