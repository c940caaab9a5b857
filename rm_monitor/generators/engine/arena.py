"""Where keys and values live: one line of slots a layer, cut into groups of rows of like length.

Reading keys and values is what attention costs when one token a row is decoded, so rows are grouped: a group
is read up to its longest row, no further. A row's token at position ``p`` lies in slot ``base + p``; slot 0
is zero for ever and fills what is not written yet.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rm_monitor.packed.precision import computing

__all__ = ["Arena", "Group", "partition"]

IntArray = NDArray[np.int64]

GROUP_COST = 200  # columns that one more group must save: its fixed cost, seen flat between 60 and 600


@dataclass(slots=True)
class Group:
    """Rows that are read together: row ``j`` lies at ``offset + j * capacity``."""

    offset: int
    capacity: int
    rows: list[int] = field(default_factory=list)

    def base(self, j: int) -> int:
        """First slot of the ``j``-th row."""
        return self.offset + j * self.capacity


class Arena:
    """Keys and values of every layer, ``(heads, slots, width)`` each."""

    def __init__(self) -> None:
        self.slots = 1
        self.keys: dict[int, Tensor] = {}
        self.values: dict[int, Tensor] = {}

    def write(self, layer: int, slots: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Put ``(heads, tokens, width)`` into their slots; the whole line of that layer comes back."""
        keys = self.keys.get(layer)
        if keys is None:
            keys, self.values[layer] = _line(key, self.slots), _line(value, self.slots)
            self.keys[layer] = keys
        values = self.values[layer]
        keys.index_copy_(1, slots, key.to(keys.dtype))
        values.index_copy_(1, slots, value.to(values.dtype))
        return keys, values

    def relayout(self, source: IntArray) -> None:
        """New slot ``i`` holds what slot ``source[i]`` held; 0 is empty."""
        self.slots = len(source)
        for lines in (self.keys, self.values):
            for layer, line in lines.items():  # layer by layer: the peak is one layer's copy
                lines[layer] = line.index_select(1, torch.from_numpy(source).to(line.device))

    def copy(self, source: IntArray, target: IntArray) -> None:
        """Copy slots."""
        for lines in (self.keys, self.values):
            for line in lines.values():
                at = torch.from_numpy(source).to(line.device)
                line.index_copy_(1, torch.from_numpy(target).to(line.device), line.index_select(1, at))

    def move(self, source: int, target: int, count: int) -> None:
        """Copy a run of slots."""
        for lines in (self.keys, self.values):
            for line in lines.values():
                line[:, target : target + count] = line[:, source : source + count]


def _line(given: Tensor, slots: int) -> Tensor:
    """In the dtype of attention: rotary positions leave keys in float32 under mixed precision."""
    return given.new_zeros((given.shape[0], slots, given.shape[2]), dtype=computing(given))


def partition(lengths: IntArray, cost: int = GROUP_COST) -> list[int]:
    """Ends of the groups of rows sorted by length that read least: rows x longest, and ``cost`` a group.

    Example:
        >>> partition(np.array([10, 11, 12, 400, 410]), cost=50)
        [3, 5]
    """
    n = len(lengths)
    best = np.zeros(n + 1)
    cut = np.zeros(n + 1, dtype=np.int64)
    for end in range(1, n + 1):
        starts = np.arange(end)
        total = best[:end] + (end - starts) * lengths[end - 1] + cost
        cut[end] = int(total.argmin())
        best[end] = total[cut[end]]
    ends: list[int] = []
    end = n
    while end > 0:
        ends.append(end)
        end = int(cut[end])
    return ends[::-1]
