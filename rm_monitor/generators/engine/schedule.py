"""In which order rows are answered, and how many at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

__all__ = ["Answer", "Job", "Queue", "shared_prefix"]

IntArray = NDArray[np.int64]

SHORTEST_PREFIX = 4


@dataclass(frozen=True, slots=True)
class Job:
    """One row to answer.

    Attributes:
        ids: Its prompt.
        prompt: Number of the prompt: rows of one prompt share its prefill.
        key: Of its noise, two numbers of 32 bits.
        expected: Tokens that its answer had at the last evaluation; nan unknown.
    """

    ids: IntArray
    prompt: int
    key: tuple[int, int]
    expected: float = float("nan")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a row said, the end token included; entropy and mass as in `Completion`."""

    tokens: IntArray
    stopped: bool
    entropy: float
    mass: float


@dataclass(slots=True)
class Queue:
    """Rows that wait, longest first: the last step is the end of the longest row, so that one starts first.

    Args:
        jobs: All rows.
        max_new_tokens: Longest answer.
        overhead: Slots' worth of memory that a row needs besides its own.
        page: Slots that memory is handed out in.

    Attributes:
        needs: ``(n,)`` slots that each row may come to need.
    """

    jobs: Sequence[Job]
    max_new_tokens: int
    overhead: int = 0
    page: int = 1
    needs: IntArray = field(init=False)
    _waiting: list[int] = field(init=False)

    def __post_init__(self) -> None:
        longest: dict[int, float] = {}
        for job in self.jobs:
            known = self.max_new_tokens if np.isnan(job.expected) else job.expected
            longest[job.prompt] = max(longest.get(job.prompt, 0.0), float(known))
        order = sorted(
            range(len(self.jobs)),
            key=lambda i: (-longest[self.jobs[i].prompt], -len(self.jobs[i].ids), self.jobs[i].prompt, i),
        )
        self._waiting = order
        slots = np.array([len(job.ids) + self.max_new_tokens for job in self.jobs], dtype=np.int64)
        self.needs = -(-slots // self.page) * self.page + self.overhead

    def __len__(self) -> int:
        return len(self._waiting)

    def take(self, slots: int, *, at_least: int = 0) -> list[int]:
        """The next rows that fit into ``slots``, and ``at_least`` so many whether or not they fit."""
        fit = 0
        for row in self._waiting:
            slots -= int(self.needs[row])
            if slots < 0 and fit >= at_least:
                break
            fit += 1
        taken, self._waiting = self._waiting[:fit], self._waiting[fit:]
        return taken

    def put_back(self, rows: Sequence[int]) -> None:
        """These come again, first."""
        self._waiting = [*rows, *self._waiting]


def shared_prefix(jobs: Sequence[Job]) -> int:
    """Tokens with which all prompts begin (a chat template's head), short of the shortest prompt; 0: too few.

    Example:
        >>> jobs = [Job(ids=np.array([1, 2, 3, 4, 5, i]), prompt=i, key=(0, 0)) for i in (7, 8)]
        >>> shared_prefix(jobs)
        5
    """
    prompts = list({job.prompt: job.ids for job in jobs}.values())
    if len(prompts) < 2:
        return 0
    shortest = min(map(len, prompts)) - 1
    first = prompts[0][:shortest]
    same = np.ones(shortest, dtype=bool)
    for ids in prompts[1:]:
        same &= ids[:shortest] == first
    common = int(np.argmin(same)) if not same.all() else shortest
    return common if common >= SHORTEST_PREFIX else 0
