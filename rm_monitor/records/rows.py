"""An evaluation's completions and values on disk: ``rows/<step>-<seq>.jsonl``, one line a completion."""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from rm_monitor import files
from rm_monitor.files.lines import line, parse
from rm_monitor.files.strict_json import number
from rm_monitor.types import Completion, Table

__all__ = ["LONGEST_TEXT", "read_rows", "write_rows"]

LONGEST_TEXT = 32_768  # characters of a completion that are kept; its full length is kept beside it
_NAME = re.compile(r"rows/\d+-\d+\.jsonl")  # a record that names another file is not one of ours


def write_rows(folder: Path, name: str, table: Table) -> dict[str, Any]:
    """Make a table durable.

    Returns:
        What the evaluation's line must say of it: the file, its checksum, and its shape.
    """
    lines = []
    for i, completions in enumerate(table.completions):
        for j, completion in enumerate(completions):
            texts = {name: getattr(completion, name)[:LONGEST_TEXT] for name in ("text", "reasoning")}
            kept = asdict(replace(completion, **texts, tokens=()))
            del kept["tokens"]
            values = {name: float(x[i, j]) for name, x in table.values.items()}
            extra = {"characters": len(completion.text)} if len(completion.text) > LONGEST_TEXT else {}
            lines.append(line({**kept, **extra, "values": values}))
    text = "".join(lines)
    rows = folder / "rows"
    if not rows.is_dir():
        rows.mkdir(parents=True, exist_ok=True)
        files.sync(folder)  # else the power may take it, with what is in it
    files.replace(folder / name, text)
    return {"file": name, "n": len(lines), "k": len(table.completions[0]), "crc": zlib.crc32(text.encode())}


def read_rows(folder: Path, rows: Mapping[str, Any]) -> Table | None:
    """The table that an evaluation's line tells of; None if it is not there as it was written."""
    try:
        if not _NAME.fullmatch(rows["file"]):
            return None
        data = (folder / rows["file"]).read_bytes()
        if zlib.crc32(data) != rows["crc"]:
            return None
        read = [parse(one) for one in data.split(b"\n") if one]
        return _table([row for row in read if row is not None], rows["n"], rows["k"])
    except (OSError, KeyError, TypeError, ValueError, IndexError):
        return None


def _table(read: list[dict[str, Any]], n: int, k: int) -> Table | None:
    if len(read) != n or not n or n % k:
        return None
    names = read[0]["values"]
    values = {x: np.array([number(row["values"][x]) for row in read]).reshape(n // k, k) for x in names}
    completions = [_completion(row) for row in read]
    groups = tuple(tuple(completions[i : i + k]) for i in range(0, n, k))
    return Table(prompt_ids=tuple(g[0].prompt_id for g in groups), completions=groups, values=values)


def _completion(row: Mapping[str, Any]) -> Completion:
    return Completion(
        prompt_id=row["prompt_id"],
        text=row["text"],
        sample=row["sample"],
        finish_reason=row["finish_reason"],
        n_tokens=row["n_tokens"],
        reasoning=row.get("reasoning", ""),
        reasoning_tokens=row.get("reasoning_tokens", -1),
        entropy=number(row["entropy"]),
        top10_mass=number(row["top10_mass"]),
        kl=number(row["kl"]) if "kl" in row else math.nan,
    )
