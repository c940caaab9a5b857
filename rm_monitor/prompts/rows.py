"""Rows of any source: one way in for prompts, references, recorded answers, pairs and training sets."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from rm_monitor.prompts.files import Row, read_files
from rm_monitor.prompts.frames import records

__all__ = ["Row", "name_of", "read_rows"]


def read_rows(source: Any) -> Iterator[Row]:
    """Rows of a file, a folder of shards, a data frame or anything that iterates over rows, one at a time.

    Nothing in a source is ever executed, and a row is read when it is asked for.

    Args:
        source: Path (or a pattern such as ``data/train-*.parquet``); a ``datasets.Dataset``; a frame of
            pandas, polars or pyarrow; columns ``{name: [values]}``; a list or an iterable of rows.

    Raises:
        ValueError: If a file is missing, damaged or of no known kind: with file, line and column.
        TypeError: If the source is not one of rows.

    Example:
        >>> [(row.value, row.place) for row in read_rows(["Hi", {"prompt": "Ho"}])]
        [('Hi', 'row 1'), ({'prompt': 'Ho'}, 'row 2')]
    """
    if isinstance(source, (str, Path)):
        yield from read_files(source)
        return
    for number, value in enumerate(_values(source), 1):
        yield Row(value, f"row {number}")


def name_of(source: Any) -> str:
    """A source in a message: its path, else its kind."""
    return str(source) if isinstance(source, (str, Path)) else type(source).__name__


def _values(source: Any) -> Iterable[Any]:
    frame = records(source)
    if frame is not None:
        return frame
    if isinstance(source, Mapping):
        return _columns(source)
    if isinstance(source, (bytes, bytearray, io.IOBase, set, frozenset)):
        raise TypeError(
            f"rows cannot be read from {type(source).__name__}, which has no rows in a fixed order: "
            "give a path, a list or a dataset"
        )
    if hasattr(source, "columns"):  # a table of a library we do not know iterates over its column names
        raise TypeError(
            f"rows cannot be read from {type(source).__module__}.{type(source).__qualname__}: give a list of "
            "rows (often `.to_dict('records')`), a file, or a frame of pandas, polars, pyarrow or datasets"
        )
    if isinstance(source, (Iterable, Sequence)) or (
        hasattr(source, "__len__") and hasattr(source, "__getitem__")  # a map-style torch Dataset
    ):
        return cast("Iterable[Any]", source)
    raise TypeError(f"rows must come from a path, a list or a dataset, got {type(source).__name__}")


def _columns(source: Mapping[Any, Any]) -> Iterator[dict[str, Any]]:
    """Rows of ``{column: [values]}``, as a slice of a ``datasets.Dataset`` is."""
    lists = [v for v in source.values() if isinstance(v, (list, tuple))]
    if not lists or len(lists) < len(source):
        kinds = sorted({type(value).__name__ for value in source.values()})
        raise TypeError(
            f"rows cannot be read from a {type(source).__name__} of {', '.join(kinds) or 'nothing'}: of a "
            f"dict of splits pass one, such as {next(iter(source), 'train')!r}; of a single row pass [row]"
        )
    sizes = {str(name): len(values) for name, values in source.items()}
    if len(set(sizes.values())) > 1:
        raise ValueError(f"columns must have one value a row; their lengths are {sizes}")
    return (dict(zip(sizes, values, strict=True)) for values in zip(*source.values(), strict=True))
