"""What the decoder knows of every row, as arrays over rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from rm_monitor.generators.engine.choosing import Said
from rm_monitor.generators.engine.schedule import Answer, Job

__all__ = ["Flight", "Table"]

IntArray = NDArray[np.int64]


class Table:
    """Rows to answer and what they have said.

    Args:
        jobs: Rows.
        longest: Tokens of the longest answer.

    Attributes:
        size: ``(n,)`` tokens of each prompt.
        keys: ``(n, 2)`` int32 of the noise.
        count: ``(n,)`` tokens said.
        said: ``(n, longest)``.
    """

    def __init__(self, jobs: Sequence[Job], longest: int) -> None:
        n = len(jobs)
        self.jobs, self.longest = jobs, longest
        self.size = np.array([len(job.ids) for job in jobs], dtype=np.int64)
        self.keys = torch.tensor([job.key for job in jobs], dtype=torch.int32).reshape(n, 2)
        self.count = np.zeros(n, dtype=np.int64)
        self.said = np.zeros((n, longest), dtype=np.int64)
        self._sums = np.zeros((2, n))  # of entropy and of mass

    def say(self, said: Said) -> None:
        """Take note of one token of each of some rows."""
        rows = said.rows
        self.said[rows, self.count[rows]] = said.tokens
        self.count[rows] += 1
        self._sums[:, rows] += said.facts

    def forget(self, rows: Sequence[int]) -> None:
        """These rows begin again."""
        self.count[rows] = 0
        self._sums[:, rows] = 0.0

    def last(self, rows: IntArray) -> IntArray:
        """``(len(rows),)`` the tokens they said last."""
        tokens: IntArray = self.said[rows, self.count[rows] - 1]
        return tokens

    def answer(self, row: int, *, stopped: bool) -> Answer:
        """What a row that is done has said."""
        n = int(self.count[row])
        entropy, mass = (self._sums[:, row] / n).tolist()
        return Answer(self.said[row, :n].copy(), stopped, entropy, mass)


class Flight(Protocol):
    """Rows in flight: where their keys and values lie, and how the model is run on them."""

    @property
    def rows(self) -> IntArray:
        """Rows in flight."""
        ...

    def admit(self, new: Sequence[int]) -> Iterator[Said]:
        """Run the prompts of new rows; each row's first token."""
        ...

    def step(self) -> Said:
        """Each row's next token."""
        ...

    def remove(self, rows: Sequence[int]) -> None:
        """Rows that are done."""
        ...
