"""Drafts: what a row said at earlier evaluations, offered as its next tokens.

Our sampling makes the next token a fixed function of the logits, so a draft can be checked many positions in
one forward and kept up to the first difference: the tokens are those that decoding one by one gives, whatever
the draft is worth. After a difference a row rejoins an earlier answer where its last tokens occur in it.

A checked token costs what a decoded token costs; what it saves is a share of the fixed cost of a step. So
drafts pay when they are likely right, and all the more the fewer rows share a step: see `Speculation`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["Draft", "Speculation"]

IntArray = NDArray[np.int64]

GRAM = 3  # equal last tokens that make a row rejoin
LONGEST = 32  # tokens checked at once in one row
PRIOR_HITS, PRIOR_MISSES = 3.0, 1.0
MEMORY = 200.0  # observations after which older ones have faded


class Draft:
    """One row's place in its earlier answers.

    Example:
        >>> draft = Draft([np.array([5, 6, 7, 8, 9, 10])])
        >>> draft.offer(2).tolist()
        [5, 6]
        >>> draft.follow([5, 1, 7, 8, 9]), draft.offer(4).tolist()  # left it at 1, found 7 8 9 again
        ([True, False], [10])
    """

    def __init__(self, earlier: Sequence[IntArray]) -> None:
        self._earlier = [e for e in earlier if len(e)]
        self._at: tuple[int, int] | None = (0, 0) if self._earlier else None
        self._last: list[int] = []
        self._places: dict[tuple[int, ...], tuple[int, int]] | None = None
        self.run = 0  # tokens followed without a difference

    def offer(self, count: int) -> IntArray:
        """At most ``count`` likely next tokens."""
        if self._at is None or count < 1:
            return np.zeros(0, dtype=np.int64)
        which, place = self._at
        return self._earlier[which][place : place + count]

    def follow(self, tokens: Sequence[int]) -> list[bool]:
        """Take note of what the row really said; one verdict for each token that the draft had foretold."""
        verdicts = []
        for token in tokens:
            self._last.append(token)
            if self._at is not None:
                which, place = self._at
                right = int(self._earlier[which][place]) == token
                verdicts.append(right)
                self.run = self.run + 1 if right else 0
                ends = place + 1 == len(self._earlier[which])
                self._at = (which, place + 1) if right and not ends else None
            if self._at is None and self._earlier:
                self._at = self._rejoin()
        return verdicts

    def _rejoin(self) -> tuple[int, int] | None:
        if len(self._last) < GRAM:
            return None
        if self._places is None:
            self._places = {
                tuple(earlier[i : i + GRAM].tolist()): (which, i + GRAM)
                for which, earlier in reversed(list(enumerate(self._earlier)))  # the latest wins
                for i in range(len(earlier) - GRAM)
            }
        return self._places.get(tuple(self._last[-GRAM:]))


class Speculation:
    """How many tokens of a draft are worth checking.

    A step costs ``fixed + tokens`` in units of one token. Of ``fixed``, each of ``rows`` rows bears a
    share, which it saves with every step that it needs no more. Checking one more token pays while its
    chance ``p`` of being right satisfies ``p (1 + fixed / rows) > 1``. The chances are those seen so far, by
    how long the row has been right. Every token teaches them, checked or decoded: finding out is free.

    Args:
        fixed: Cost of a step that does not depend on its tokens, in tokens.
    """

    def __init__(self, fixed: float) -> None:
        self.fixed = fixed
        self._hits = [PRIOR_HITS] * 3
        self._misses = [PRIOR_MISSES] * 3

    def width(self, run: int, rows: int) -> int:
        """Tokens to check in a row that has followed its draft for ``run`` tokens."""
        kind = _kind(run)
        p = self._hits[kind] / (self._hits[kind] + self._misses[kind])
        worth = 1 / (1 + self.fixed / rows)
        return min(LONGEST, int(math.log(worth) / math.log(p))) if p > worth else 0

    def learn(self, run: int, verdicts: Sequence[bool]) -> None:
        """``run``: tokens followed before these verdicts."""
        for right in verdicts:
            kind = _kind(run)
            fade = 1 - 1 / MEMORY
            self._hits[kind] = self._hits[kind] * fade + right
            self._misses[kind] = self._misses[kind] * fade + (not right)
            run = run + 1 if right else 0


def _kind(run: int) -> int:
    return 0 if run < 3 else 1 if run < 12 else 2
