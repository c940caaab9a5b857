"""The choice of a growing run, remembered: a new evaluation costs what is new about it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rm_monitor.stats.choice import BestChoice, choose
from rm_monitor.stats.paired import Effects, effects, groups
from rm_monitor.stats.pool import Pool
from rm_monitor.types import BoolArray, FloatArray

__all__ = ["Election"]


class Election:
    """Chooses the best row again and again.

    It never changes an answer: it starts anew whenever the rows are not a continuation of those before.

    Args:
        seed: Of the resamples.
        clusters: ``(n,)`` labels of prompts that belong together.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> rows = np.array([[0.0], [2.0], [1.0]]) + rng.normal(size=(3, 200))
        >>> election = Election()
        >>> [election.choose(rows[:t]).index for t in (1, 2, 3)]
        [0, 1, 1]
    """

    def __init__(self, *, seed: int = 0, clusters: NDArray[Any] | None = None) -> None:
        self._seed = seed
        self._clusters = clusters
        self._rows: FloatArray = np.empty((0, 0))
        self._rules: tuple[bool, float] = (True, 1.0)
        self._pool = Pool()
        self._table: Effects | None = None
        self._known: dict[tuple[bytes, bytes], BestChoice] = {}

    def choose(
        self,
        rows: FloatArray,
        *,
        eligible: BoolArray | None = None,
        ties: FloatArray | None = None,
        pool: bool = True,
        temperature: float = 1.0,
    ) -> BestChoice:
        """`rm_monitor.stats.best` of these rows.

        Args:
            rows: ``(t, n)`` raw rewards (``pool=False``: outcomes), nan where unscored.
            eligible: ``(t,)`` rows that may be chosen; None: all.
            ties: ``(t,)`` breaks exact ties, highest first.
            pool: Compare by pool score.
            temperature: Of the pool score.
        """
        table = self._taken(rows, pool, temperature)
        key = (
            b"" if eligible is None else np.asarray(eligible).tobytes(),
            b"" if ties is None else np.asarray(ties).tobytes(),
        )
        if key not in self._known:
            self._known[key] = choose(table, eligible=eligible, ties=ties, seed=self._seed)
        return self._known[key]

    def _taken(self, rows: FloatArray, pool: bool, temperature: float) -> Effects:
        old = len(self._rows)
        goes_on = (
            self._rules == (pool, temperature)
            and old <= len(rows)
            and self._rows.shape[1:] == rows.shape[1:]
            and np.array_equal(self._rows, rows[:old], equal_nan=True)
        )
        if goes_on and old == len(rows) and self._table is not None:
            return self._table
        if not goes_on:
            self._pool, old = Pool(temperature=temperature), 0
        if pool:
            for row in rows[old:]:
                self._pool.add(row)
        self._rules, self._rows, self._known = (pool, temperature), rows.copy(), {}
        self._table = effects(self._pool.scores() if pool else rows, groups(self._clusters, rows.shape[1]))
        return self._table
