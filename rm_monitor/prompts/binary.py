"""Parquet, Arrow and Inspect's logs, a batch at a time."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from rm_monitor.prompts.characters import MOST_LINE, Bytes

__all__ = ["READERS"]

_BATCH = 1024  # rows held at a time


def _parquet(file: Bytes, path: Path) -> Iterator[tuple[Any, str]]:
    pyarrow = _pyarrow(path)
    import pyarrow.parquet as parquet  # noqa: PLC0415  an optional reader

    try:
        batches = parquet.ParquetFile(file).iter_batches(batch_size=_BATCH)
        yield from _numbered(batches)
    except pyarrow.ArrowException as problem:
        raise ValueError(f"{path} is a damaged Parquet file: {_one_line(problem)}") from problem


def _arrow_file(file: Bytes, path: Path) -> Iterator[tuple[Any, str]]:
    pyarrow = _pyarrow(path)
    try:
        reader = pyarrow.ipc.open_file(file)
        yield from _numbered(reader.get_batch(i) for i in range(reader.num_record_batches))
    except pyarrow.ArrowException as problem:
        raise ValueError(f"{path} is a damaged Arrow file: {_one_line(problem)}") from problem


def _arrow_stream(file: Bytes, path: Path) -> Iterator[tuple[Any, str]]:
    pyarrow = _pyarrow(path)
    try:
        yield from _numbered(pyarrow.ipc.open_stream(file))
    except pyarrow.ArrowException as problem:
        raise ValueError(f"{path} is a damaged Arrow stream: {_one_line(problem)}") from problem


def _inspect_log(file: Bytes, path: Path) -> Iterator[tuple[Any, str]]:
    """The samples of an ``.eval`` file, which is a zip of JSON."""
    try:
        with zipfile.ZipFile(file) as log:
            names = sorted(n for n in log.namelist() if n.startswith("samples/") and n.endswith(".json"))
            if not names:
                if any(n.startswith("xl/") for n in log.namelist()):
                    raise ValueError(
                        f"{path} is an Excel workbook: save the sheet as CSV (UTF-8), or pass "
                        f"pandas.read_excel({path.name!r})"
                    )
                raise ValueError(f"{path} is a zip without samples/*.json: unpack it and pass a file of rows")
            for name in names:
                with log.open(name) as member:
                    data = member.read(MOST_LINE + 1)
                if len(data) > MOST_LINE:
                    raise ValueError(
                        f"{path} {name} has more than {MOST_LINE:,} bytes: no sample is that long"
                    )
                yield json.loads(data), f" {name}"
    except (zipfile.BadZipFile, NotImplementedError, json.JSONDecodeError, UnicodeDecodeError) as problem:
        raise ValueError(f"{path} is a damaged or unknown kind of zip: {_one_line(problem)}") from problem


READERS: dict[bytes, Callable[[Bytes, Path], Iterator[tuple[Any, str]]]] = {
    b"PAR1": _parquet,
    b"ARROW1": _arrow_file,
    b"\xff\xff\xff\xff": _arrow_stream,
    b"PK\x03\x04": _inspect_log,
}


def _numbered(batches: Any) -> Iterator[tuple[Any, str]]:
    number = 0
    for batch in batches:
        for start in range(0, batch.num_rows, _BATCH):
            for row in batch.slice(start, _BATCH).to_pylist():
                number += 1
                yield row, f" row {number}"


def _pyarrow(path: Path) -> Any:
    try:
        import pyarrow  # noqa: PLC0415  an optional reader
    except ImportError as missing:
        raise ImportError(f"reading {path} needs pyarrow: pip install pyarrow") from missing
    return pyarrow


def _one_line(problem: Exception) -> str:
    return " ".join(str(problem).split())[:300]
