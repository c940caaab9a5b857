"""Training rows, read without running any code of the user's: a dataset may draw random numbers when asked.

What is read is what lies there: a list's elements, tensors, the table below a `datasets.Dataset`. A dataset
of a class we do not know is left alone, for its ``__getitem__`` may count, draw or open files.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from rm_monitor.prompts.frames import records

__all__ = ["MOST_ROWS", "TrainingRows", "training_rows"]

MOST_ROWS = 20_000
_CHUNK = 256  # rows of a table at a time

_Rows: TypeAlias = Callable[[Sequence[int]], Iterator[Any]]  # rows at these places


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRows:
    """What can be read of a training set.

    Attributes:
        total: How many rows it has; None unknown.
        why_not: Why no row is read; empty: rows are.
        transformed: Training sees something else than these rows: a transform of the user's stands between.
    """

    total: int | None = None
    why_not: str = ""
    transformed: bool = False
    _read: _Rows | None = None
    _places: tuple[int, ...] = ()

    def __iter__(self) -> Iterator[Any]:
        return iter(()) if self._read is None else self._read(self._places)

    def first(self, n: int) -> list[Any]:
        """``n`` of the rows, spread evenly."""
        return [] if self._read is None else list(self._read(_spread(self._places, n)))


def training_rows(dataset: Any, *, most_rows: int = MOST_ROWS) -> TrainingRows:
    """The rows of a dataset, spread evenly over it if there are more than can be looked at.

    Example:
        >>> rows = training_rows([{"text": "a"}, {"text": "b"}])
        >>> list(rows), rows.total
        ([{'text': 'a'}, {'text': 'b'}], 2)
        >>> training_rows(iter("ab")).why_not
        'a str_ascii_iterator can be read only by running its own code, which training would notice'
    """
    found = _reader(dataset)
    if isinstance(found, str):
        return TrainingRows(why_not=found)
    n, read, transformed = found
    return TrainingRows(
        total=n, transformed=transformed, _read=read, _places=_spread(tuple(range(n)), most_rows)
    )


def _spread(places: Sequence[int], most: int) -> tuple[int, ...]:
    n = len(places)
    if n <= most:
        return tuple(places)
    return tuple(places[i] for i in np.linspace(0, n - 1, most).astype(int).tolist())


def _reader(dataset: Any) -> tuple[int, _Rows, bool] | str:
    """How many rows, how to read them and whether they are transformed; or why they are left alone."""
    kind = type(dataset)
    if kind in (list, tuple, range):
        return len(dataset), lambda places: _elements(dataset, places), False
    name = f"{kind.__module__}.{kind.__name__}"
    if name == "datasets.arrow_dataset.Dataset":
        return len(dataset), lambda places: _table(dataset, places), dataset.format["type"] == "custom"
    if kind.__module__.partition(".")[0] in ("pandas", "polars", "pyarrow"):
        return len(dataset), lambda places: _frame(dataset, places), False
    if name == "torch.utils.data.dataset.Subset":
        return _subset(dataset)
    if name == "torch.utils.data.dataset.ConcatDataset":
        return _concatenated(dataset)
    if name == "torch.utils.data.dataset.TensorDataset":
        ids = dataset.tensors[0]
        return len(ids), lambda places: ({"input_ids": ids[i].tolist()} for i in places), False
    return f"a {kind.__name__} can be read only by running its own code, which training would notice"


def _elements(rows: Sequence[Any], places: Sequence[int]) -> Iterator[Any]:
    for i in places:
        row = rows[i]
        if type(row) in (dict, str, int, list, tuple):
            yield row
        elif type(row).__name__ == "BatchEncoding":  # transformers': a mapping that holds a plain one
            yield row.data


def _frame(frame: Any, places: Sequence[int]) -> Iterator[Any]:
    wanted = set(places)
    return (row for i, row in enumerate(records(frame) or ()) if i in wanted)


def _table(dataset: Any, places: Sequence[int]) -> Iterator[Any]:
    from datasets.formatting import query_table  # noqa: PLC0415  who has such a dataset has the package

    columns = [field.name for field in dataset.data.schema if _readable(field.type)]
    for at in range(0, len(places), _CHUNK):
        part = list(places[at : at + _CHUNK])
        yield from query_table(dataset.data, part, indices=dataset._indices).select(columns).to_pylist()


def _readable(kind: Any) -> bool:
    """Whether a column can hold text or token ids: images and sounds are long to read and say nothing."""
    return not any(word in str(kind) for word in ("binary", "bytes"))


def _subset(dataset: Any) -> tuple[int, _Rows, bool] | str:
    inner = _reader(dataset.dataset)
    if isinstance(inner, str):
        return inner
    chosen = [int(i) for i in dataset.indices]
    return len(chosen), lambda places: inner[1]([chosen[i] for i in places]), inner[2]


def _concatenated(dataset: Any) -> tuple[int, _Rows, bool] | str:
    parts = [_reader(part) for part in dataset.datasets]
    known = [part for part in parts if not isinstance(part, str)]
    if len(known) < len(parts):
        return next(part for part in parts if isinstance(part, str))
    ends = np.cumsum([n for n, _, _ in known]).tolist()

    def read(places: Sequence[int]) -> Iterator[Any]:
        for place in places:
            number = bisect_right(ends, place)
            yield from known[number][1]([place - (ends[number - 1] if number else 0)])

    return ends[-1] if ends else 0, read, any(part[2] for part in known)


def plain_ids(value: Any) -> list[int]:
    """Token ids as a list: from a list, an array or a tensor; empty for anything else."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, list) and value and all(isinstance(i, int) for i in value[:8]):
        return value
    return []


def columns(row: Any) -> Mapping[str, Any]:
    """A row by its columns; a text alone is the column ``text``."""
    if isinstance(row, str):
        return {"text": row}
    return row if isinstance(row, Mapping) else {}
