"""CSV and TSV: an empty cell is missing, because these files know no other way to say so."""

from __future__ import annotations

import csv
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rm_monitor.prompts.characters import Bytes, lines

__all__ = ["read"]


def read(file: Bytes, path: Path) -> Iterator[tuple[dict[str, Any], str]]:
    """Rows by column name, and the line on which each begins.

    Raises:
        ValueError: If a name of the header comes twice, a row has more cells than the header, or a quoted
        cell
            does not end.
    """
    text = _Kept(lines(file, path))
    first = next(text, "")
    between = _delimiter(first, path)
    text.back(first)
    cells = csv.reader(text, delimiter=between, strict=True)
    header = [name.strip() for name in _next(cells, text, path) or []]
    twice = [name for name, count in Counter(header).items() if count > 1 and name]
    if twice:
        raise ValueError(f"{path} line 1 names columns twice: {twice}. Give each its own name")
    while True:
        begins = text.number + 1
        row = _next(cells, text, path)
        if row is None:
            return
        if len(row) > len(header):
            raise ValueError(
                f"{path} line {begins} has {len(row)} cells and the header has {len(header)} columns: "
                f"quote cells that hold {between!r}"
            )
        if row:
            yield (
                {name: cell for name, cell in zip(header, row, strict=False) if name and cell},
                f" line {begins}",
            )


class _Kept(Iterator[str]):
    """Lines; knows the number of the last, and takes one back."""

    def __init__(self, source: Iterator[tuple[int, str]]) -> None:
        self.number = 0
        self._source = source
        self._back: list[str] = []

    def back(self, line: str) -> None:
        """Give this line again."""
        self._back.append(line)
        self.number -= 1

    def __next__(self) -> str:
        line = self._back.pop() if self._back else next(self._source)[1]
        self.number += 1
        return line


def _next(cells: Iterator[list[str]], text: _Kept, path: Path) -> list[str] | None:
    begins = text.number + 1
    try:
        with _large_cells():
            return next(cells, None)
    except csv.Error as problem:
        until = f" to {text.number}" if text.number > begins else ""
        raise ValueError(f"{path} line {begins}{until} is not CSV: {problem}") from problem


@contextmanager
def _large_cells() -> Iterator[None]:
    """The largest cell that `csv` takes belongs to the process: it is left as it was found."""
    before = csv.field_size_limit(sys.maxsize)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _delimiter(header: str, path: Path) -> str:
    if ".tsv" in (ending.lower() for ending in path.suffixes):
        return "\t"
    bare = "".join(header.split('"')[::2])  # outside of quotes
    return max(",;\t", key=bare.count)
