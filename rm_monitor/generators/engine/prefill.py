"""Prompts packed into chunks: no padding, and activations that stay in the processor's cache."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from rm_monitor.generators.engine.schedule import Job

__all__ = ["SIZE", "Chunk", "chunks", "families_of"]

IntArray = NDArray[np.int64]

SIZE = 512


@dataclass(slots=True)
class Chunk:
    """One forward.

    Attributes:
        pieces: (row, from, to) of prompts, one after the other.
        finished: Rows whose prompt ends in it.
        ends: Where in the chunk those prompts' last tokens stand.
    """

    pieces: list[tuple[int, int, int]] = field(default_factory=list)
    finished: list[int] = field(default_factory=list)

    @property
    def size(self) -> int:
        """Tokens."""
        return sum(b - a for _, a, b in self.pieces)

    @property
    def ends(self) -> IntArray:
        """See the class."""
        after = np.cumsum([b - a for _, a, b in self.pieces])
        last = [
            end - 1
            for (row, _, _), end in zip(self.pieces, after.tolist(), strict=True)
            if row in self.finished
        ]
        return np.array(last, dtype=np.int64)

    def answered(
        self, jobs: Sequence[Job], families: Mapping[int, Sequence[int]]
    ) -> tuple[list[int], list[int]]:
        """Rows whose answers begin after it, and which of `ends` each of them begins after."""
        rows: list[int] = []
        which: list[int] = []
        for number, leader in enumerate(self.finished):
            family = families[jobs[leader].prompt]
            rows += family
            which += [number] * len(family)
        return rows, which


def families_of(jobs: Sequence[Job], rows: Sequence[int]) -> dict[int, list[int]]:
    """Rows by the number of their prompt: a prompt is run once for all its samples."""
    families: dict[int, list[int]] = {}
    for i in rows:
        families.setdefault(jobs[i].prompt, []).append(i)
    return families


def chunks(prompts: Mapping[int, IntArray], done: int, size: int = SIZE) -> Iterator[Chunk]:
    """Cut prompts, of which ``done`` tokens each are there already, into chunks of at most ``size`` tokens.

    Only prompts that are longer than a chunk are cut.

    Example:
        >>> prompts = {0: np.arange(3), 1: np.arange(9), 2: np.arange(2)}
        >>> [chunk.pieces for chunk in chunks(prompts, 0, size=4)]
        [[(0, 0, 3)], [(1, 0, 4)], [(1, 4, 8)], [(1, 8, 9), (2, 0, 2)]]
    """
    chunk = Chunk()
    for row, ids in prompts.items():
        at = done
        while at < len(ids):
            left = size - chunk.size
            if chunk.pieces and (left == 0 or (left < len(ids) - at and at == done)):
                yield chunk
                chunk, left = Chunk(), size
            end = min(len(ids), at + left)
            chunk.pieces.append((row, at, end))
            if end == len(ids):
                chunk.finished.append(row)
            at = end
    if chunk.pieces:
        yield chunk
