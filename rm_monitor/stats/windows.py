"""Which earlier windows of a run the last evaluations are compared with, and by how much each differs.

Every window of 1, 2, 3 and 5 evaluations is compared with every earlier window of its width. In a long run
what lies far back is kept in blocks of five evaluations that never move, so that a look at the two-thousandth
evaluation costs about what one at the hundredth does: a slow decline is seen by the blocks, a sudden one by
the recent windows.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from rm_monitor.types import FloatArray

__all__ = ["BLOCK", "RECENT", "WIDTHS", "Family", "differences", "family", "reduced"]

WIDTHS = (1, 2, 3, 5)
BLOCK = 5
RECENT = 40  # evaluations that are compared window by window


@dataclass(frozen=True, slots=True, eq=False)
class Family:
    """Earlier windows against the current one of the same width: recent ones first, then blocks.

    One object a number of rows and widths (`family`).

    Attributes:
        first: ``(k,)`` first row of the earlier window.
        width: ``(k,)`` of both windows.
        t: Rows; the current windows end at the last.
        start: First row that is compared row by row.
        blocks: How many of the ``k`` are blocks of rows before ``start``.
        parts: Width and number of the recent ones, in their order.
    """

    first: NDArray[np.int64]
    width: NDArray[np.int64]
    t: int
    start: int
    blocks: int
    parts: tuple[tuple[int, int], ...]

    @property
    def spread(self) -> FloatArray:
        """``(k,)`` sum of squared weights: what noise that is new at each row adds up to."""
        return 2.0 / self.width


@lru_cache(maxsize=256)
def family(t: int, widths: tuple[int, ...] = WIDTHS) -> Family:
    """All comparisons of the last row of ``t``; no earlier window overlaps the current one.

    Example:
        >>> found = family(4, (1, 2))
        >>> found.first.tolist(), found.width.tolist()
        ([0, 1, 2, 0], [1, 1, 1, 2])
    """
    start = 0 if t <= RECENT else -(-(t - RECENT) // BLOCK) * BLOCK
    first, width, parts = [], [], []
    for w in widths:
        ends = range(start, t - 2 * w + 1)
        first += list(ends)
        width += [w] * len(ends)
        parts.append((w, len(ends)))
    blocks = list(range(0, start, BLOCK))
    first += blocks
    width += [BLOCK] * len(blocks)
    return Family(_frozen(first), _frozen(width), t, start, len(blocks), tuple(parts))


def _frozen(x: list[int]) -> NDArray[np.int64]:
    found = np.array(x, dtype=np.int64)
    found.setflags(write=False)
    return found


Rows: TypeAlias = NDArray[Any]


def reduced(rows: Rows, of: Family) -> tuple[Rows, Rows]:
    """The ``(t, ...)`` rows that are compared row by row, and the means of the blocks before them."""
    before = rows[: of.start]
    blocks = before.reshape(of.blocks, BLOCK, *rows.shape[1:]).mean(axis=1) if of.blocks else before
    return rows[of.start :], blocks


def differences(recent: Rows, blocks: Rows, of: Family) -> Rows:
    """``(k, ...)`` mean of each earlier window minus that of the current one.

    Args:
        recent: ``(t - start, ...)`` from `reduced`.
        blocks: ``(blocks, ...)`` likewise.
        of: The comparisons.
    """
    total = np.zeros((len(recent) + 1, *recent.shape[1:]), dtype=recent.dtype)
    for i, row in enumerate(recent):
        np.add(total[i], row, out=total[i + 1, ...])
    found = np.empty((len(of.width), *recent.shape[1:]), dtype=recent.dtype)
    at = 0
    for w, count in of.parts:
        if count == 0:
            continue
        here = found[at : at + count]
        np.subtract(total[w : w + count], total[:count], out=here)
        here -= total[-1] - total[-1 - w]
        here /= w
        at += count
    if of.blocks:
        found[at:] = blocks - recent[-BLOCK:].mean(axis=0)
    return found
