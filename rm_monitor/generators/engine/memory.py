"""What rows said at earlier evaluations: how long they will take, and drafts."""

from __future__ import annotations

import math
from collections import OrderedDict

import numpy as np
from numpy.typing import NDArray

__all__ = ["Memory"]

Name = tuple[int, str, int]
IntArray = NDArray[np.int64]

TOKENS = 8_000_000  # 32 MB


class Memory:
    """The last answers of each row, the least recently used rows forgotten when there are too many tokens.

    Args:
        answers: Answers kept of each row; 0 keeps lengths alone.
        tokens: Tokens kept in all.

    Example:
        >>> memory = Memory(1)
        >>> memory.keep((0, "p", 0), np.array([7, 8]))
        >>> memory.length((0, "p", 0)), [a.tolist() for a in memory.recall((0, "p", 0))]
        (2.0, [[7, 8]])
    """

    def __init__(self, answers: int, tokens: int = TOKENS) -> None:
        self._answers = answers
        self._limit = tokens
        self._kept: OrderedDict[Name, list[NDArray[np.int32]]] = OrderedDict()
        self._length: dict[Name, int] = {}
        self._tokens = 0

    def length(self, name: Name) -> float:
        """Tokens of the row's last answer; nan unknown."""
        return float(self._length.get(name, math.nan))

    def recall(self, name: Name) -> tuple[IntArray, ...]:
        """Its answers, the last one first."""
        return tuple(a.astype(np.int64) for a in self._kept.get(name, ()))

    def keep(self, name: Name, tokens: IntArray) -> None:
        """Remember what a row said."""
        self._length[name] = len(tokens)
        if self._answers == 0:
            return
        before = self._kept.pop(name, [])
        kept = [a for a in before if not np.array_equal(a, tokens)]  # an answer said twice is one draft
        kept = [tokens.astype(np.int32), *kept][: self._answers]
        self._tokens += sum(map(len, kept)) - sum(map(len, before))
        self._kept[name] = kept
        while self._tokens > self._limit and self._kept:
            _, dropped = self._kept.popitem(last=False)
            self._tokens -= sum(map(len, dropped))
