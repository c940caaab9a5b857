"""Rows in flight and where they lie: groups of like length over one `Arena`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rm_monitor.generators.engine.arena import Arena, Group, partition

__all__ = ["Layout"]

IntArray = NDArray[np.int64]

HEADROOM = 64  # slots a row may grow before keys and values are laid out anew


class Layout:
    """Which rows are in flight, in which order, and where their keys and values lie.

    Args:
        most: ``(n,)`` slots that each row may come to need.
        prefix: Tokens with which every prompt begins; they lie once in slots 1, 2, ...

    Attributes:
        length: ``(n,)`` tokens of each row whose keys and values are there.
        base: ``(n,)`` first slot of each row.
        groups: Rows that are read together.
    """

    def __init__(self, most: IntArray, prefix: int) -> None:
        self.arena = Arena()
        self.arena.relayout(np.zeros(1 + prefix, dtype=np.int64))
        self.prefix = prefix
        self.most = most
        self.length = np.zeros(len(most), dtype=np.int64)
        self.base = np.zeros(len(most), dtype=np.int64)
        self.groups: list[Group] = []
        self._formed = 0  # rows in flight when the groups were formed

    @property
    def rows(self) -> IntArray:
        """Rows in flight, in the order in which their tokens are packed."""
        return np.array([i for group in self.groups for i in group.rows], dtype=np.int64)

    def form(self, new: Sequence[int] = (), sizes: Sequence[int] = ()) -> None:
        """Form the groups anew, with room to grow; ``new`` rows of prompts of ``sizes`` join.

        A new row starts with a copy of the common beginning.
        """
        flying = self.rows
        rows = np.concatenate([flying, np.array(new, dtype=np.int64)])
        size = np.concatenate([self.length[flying], np.array(sizes, dtype=np.int64)])
        order = np.argsort(size, kind="stable")
        before = self.base.copy()
        before[list(new)] = 1
        self.length[list(new)] = self.prefix
        source = [np.arange(1 + self.prefix)]
        offset, begin, self.groups = 1 + self.prefix, 0, []
        for end in partition(size[order]):
            mine = rows[order[begin:end]]
            capacity = min(int(size[order[end - 1]]) + HEADROOM, int(self.most[mine].max()))
            group = Group(offset, capacity, mine.tolist())
            held = np.zeros((len(mine), capacity), dtype=np.int64)
            for j, i in enumerate(group.rows):
                held[j, : self.length[i]] = before[i] + np.arange(self.length[i])
                self.base[i] = group.base(j)
            source.append(held.ravel())
            self.groups.append(group)
            offset += held.size
            begin = end
        self.arena.relayout(np.concatenate(source))
        self._formed = len(rows)

    def fits(self) -> bool:
        """Whether one more token of each row in flight has its slot."""
        return all(self.length[group.rows].max() < group.capacity for group in self.groups)

    def remove(self, row: int) -> None:
        """A row is done. The last row of its group moves into its place: no step carries dead rows."""
        group = next(g for g in self.groups if row in g.rows)
        j = group.rows.index(row)
        last = group.rows.pop()
        if last != row:
            group.rows[j] = last
            self.arena.move(int(self.base[last]), group.base(j), group.capacity)
            self.base[last] = group.base(j)
        if not group.rows:
            self.groups.remove(group)

    def tidy(self) -> None:
        """Few rows left in several groups are read faster together."""
        if len(self.groups) > 1 and len(self.rows) <= self._formed // 2:
            self.form()
