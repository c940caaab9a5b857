"""Rows of data frames, without importing the library that made them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from decimal import Decimal
from typing import Any

__all__ = ["plain", "records", "without_none"]


def records(source: Any) -> Iterable[Any] | None:
    """The rows of a frame as dicts, of a column as values; None for what is no frame.

    Known: ``pandas`` DataFrame and Series, ``polars`` DataFrame and Series, ``pyarrow`` Table and
    RecordBatch.
    A ``datasets.Dataset`` iterates over its rows by itself.

    Raises:
        TypeError: If a frame is not computed yet, or a dict of splits is given.
    """
    library = type(source).__module__.partition(".")[0]
    kind = type(source).__name__
    if library == "pandas" and kind == "DataFrame":
        names = [str(name) for name in source.columns]
        return (dict(zip(names, row, strict=True)) for row in source.itertuples(index=False, name=None))
    if library == "polars" and kind == "DataFrame":
        rows: Iterable[Any] = source.iter_rows(named=True)
        return rows
    if library == "polars" and kind == "LazyFrame":
        raise TypeError("rows cannot be read from a polars LazyFrame: pass `frame.collect()`")
    if library == "pyarrow" and kind in ("Table", "RecordBatch"):
        return _of_arrow(source)
    if library in ("pandas", "polars") and kind == "Series":
        return list(source)
    if library == "datasets":
        if isinstance(source, Mapping):
            raise TypeError(
                f"rows must come from one split, got a {kind} of {sorted(map(str, source))}: pass one of "
                f"them, "
                f"such as dataset[{next(iter(source), 'train')!r}]"
            )
        return _of_dataset(source)
    return None


def plain(value: Any) -> Any:
    """A value of a row in Python's own types: arrays are lists, what is not a number or not there is None.

    Example:
        >>> import numpy as np
        >>> plain({"turns": np.array(["a", "b"]), "score": float("nan"), "n": np.int64(3)})
        {'turns': ['a', 'b'], 'score': None, 'n': 3}
    """
    if value is None or isinstance(value, (str, bool, int)):
        return str(value) if isinstance(value, str) else value
    if isinstance(value, float):
        return None if value != value else float(value)
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, (date, Decimal)):
        return str(value)
    library = type(value).__module__.partition(".")[0]
    if library == "pandas" and type(value).__name__ in ("NAType", "NaTType"):
        return None
    if library in ("numpy", "polars", "torch") and hasattr(value, "tolist"):
        return plain(value.tolist())
    if library == "polars" and hasattr(value, "to_list"):
        return plain(value.to_list())
    return value


def without_none(value: Any) -> Any:
    """Arrow gives every mapping of a column all of the column's keys, those that are missing as None."""
    if isinstance(value, Mapping):
        return {name: without_none(item) for name, item in value.items() if item is not None}
    return [without_none(item) for item in value] if isinstance(value, list) else value


def _of_arrow(source: Any) -> Iterator[Any]:
    for batch in (
        [source] if type(source).__name__ == "RecordBatch" else source.to_batches(max_chunksize=1024)
    ):
        yield from batch.to_pylist()


def _of_dataset(source: Any) -> Iterator[Any]:
    """A dataset formatted for torch or numpy is read in its plain form; its own format stays as it is."""
    plain_form = getattr(source, "with_format", None)
    yield from plain_form(None) if callable(plain_form) else source
