"""The rows of a growing run, compared: what one evaluation shows, before anything is spent on it.

What is read here depends on the scores alone. Which alarm it raises is a matter of budgets
(`rm_monitor.stats.detector`): one reading serves as many of them as are asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rm_monitor.stats.bends import NONE, PRIOR, Sizes, between, expected, sizes
from rm_monitor.stats.healthy import EQUAL, Falls, falls, largest
from rm_monitor.stats.look import MIN_COVERAGE
from rm_monitor.stats.multiplier import REPLICATES
from rm_monitor.stats.paired import Effects, effects, groups
from rm_monitor.stats.pool import Pool
from rm_monitor.stats.spending import Bar
from rm_monitor.stats.windows import WIDTHS, Family, family
from rm_monitor.types import FloatArray

__all__ = ["Reading", "Readings"]


@dataclass(frozen=True, slots=True)
class Reading:
    """What one evaluation shows.

    Attributes:
        table: All rows that are compared, taken apart.
        seen: How far the present windows lie below the earlier ones.
        z: ``(k,)`` studentised falls; minus infinity where there is none.
        tops: Of each width the largest fall, with what was known of the jitter before its window; empty:
            nothing can be compared.
        healthy: ``(sizes, replicates)`` largest studentised fall of healthy runs, for each size of jitter.
        known: What the run says of its jitter now.
    """

    table: Effects
    seen: Falls
    z: FloatArray
    tops: tuple[tuple[int, Sizes], ...]
    healthy: NDArray[np.float32]
    known: Sizes

    def tails(self, bar: Bar) -> list[float]:
        """How rare each of ``tops`` is: the smallest ``alpha`` at which it would be an alarm."""
        return bar.p(self.z[[k for k, _ in self.tops]], [size.weight for _, size in self.tops])

    def alarms(self, bar: Bar, level: float, min_drop: float) -> tuple[int, list[float], bool]:
        """Which of ``tops`` is told, how rare each is, and whether that is an alarm.

        Of several that alarm, the one that stands out most: which tail is thinner is chance among them.
        """
        tails = self.tails(bar)
        told = [i for i, tail in enumerate(tails) if tail <= level] or range(len(tails))
        at = max(told, key=lambda i: float(self.z[self.tops[i][0]]))
        return at, tails, min(tails) <= level and bool(self.seen.drop[self.tops[at][0]] >= min_drop)


class Readings:
    """Reads the evaluations of a run as they come.

    Args:
        pool: Rows are raw rewards and are compared by pool score; False: rows are outcomes in [0, 1].
        temperature: Of the pool score.
        windows: Widths of the windows that are contrasted.
        tolerance: A fall up to this is healthy.
        jitter: Checkpoints differ for no lasting reason: healthy runs are made with it.
        seed: Of the resamples.
        clusters: ``(n,)`` labels of prompts that belong together.
        replicates: Resamples.
    """

    def __init__(
        self,
        *,
        pool: bool = True,
        temperature: float = 1.0,
        windows: Sequence[int] = WIDTHS,
        tolerance: float = 0.0,
        jitter: bool = True,
        seed: int = 0,
        clusters: NDArray[Any] | None = None,
        replicates: int = REPLICATES,
    ) -> None:
        self.prior = PRIOR if jitter else NONE
        self.table: Effects | None = None
        self.kept: list[int] = []  # indices of the rows that are compared; a gap is not
        self.added = 0
        self.n = 0  # prompts known in the last row
        self._pool = Pool(temperature=temperature) if pool else None
        self._windows = tuple(windows)
        self._tolerance = tolerance
        self._seed = seed
        self._clusters = clusters
        self._replicates = replicates
        self._rows: list[FloatArray] = []
        self._sizes: list[Sizes] = []  # of the jitter, as known from the first row, the first two, ...
        self._fullest = 0

    def add(self, row: FloatArray) -> Reading | None:
        """Take the scores of the next evaluation; None where they are a gap, or the first that is none.

        Raises:
            ValueError: If the row has another length than the rows before, or outcomes lie outside [0, 1].
        """
        row = self._checked(row)
        self.added += 1
        self.n = int(np.isfinite(row).sum())
        self._fullest = max(self._fullest, self.n)
        if self.n == 0 or self.n < MIN_COVERAGE * self._fullest:
            return None
        self.kept.append(self.added - 1)
        if self._pool is None:
            self._rows.append(row)
            table = np.array(self._rows)
        else:
            self._pool.add(row)
            table = self._pool.scores()
        self.table = effects(table, groups(self._clusters, row.size))
        return self._read(self.table) if len(self.kept) > 1 else None

    def _checked(self, row: FloatArray) -> FloatArray:
        row = np.asarray(row, dtype=np.float64)
        if row.ndim != 1:
            raise ValueError(
                f"an evaluation is one score a prompt, an array of shape (n,); got shape {row.shape}"
            )
        if self.added == 0:
            self._size = row.size
        if row.size != self._size:
            raise ValueError(
                f"every evaluation holds the same {self._size} prompts (nan where unscored), got {row.size}; "
                "start anew when the prompts change"
            )
        row = np.where(np.isfinite(row), row, np.nan)
        outcomes = self._pool is None and row.size
        if outcomes and (np.nanmin(row, initial=0) < 0 or np.nanmax(row, initial=1) > 1):
            raise ValueError(
                "with `pool=False` scores are outcomes in [0, 1]; give raw rewards with `pool=True`"
            )
        return row

    def _read(self, table: Effects) -> Reading:
        of = family(len(self.kept), self._windows)
        seen = falls(table, of)
        self._learn(table)
        known = self._sizes[-1]
        if not seen.usable.any():
            silent = np.full(len(seen.drop), -np.inf)
            return Reading(table, seen, silent, (), np.empty((0, 0), dtype=np.float32), known)
        healthy = self._healthy(table, seen)
        if self.prior is NONE:  # nothing but prompts can err, and where all of them fell alike they do not
            equal = seen.sampling <= EQUAL**2
            seen = replace(seen, error=np.where(equal, EQUAL, seen.error))
        still = seen.last >= seen.drop / 2.0  # a window whose last evaluation is back is no fall any more
        z = np.where(seen.usable & still, (seen.drop - self._tolerance) / seen.error, -np.inf)
        return Reading(table, seen, z, tuple(self._tops(z, of)), healthy, known)

    def _healthy(self, table: Effects, seen: Falls) -> NDArray[np.float32]:
        return largest(table, seen, self.prior.size, seed=self._seed, replicates=self._replicates)

    def _learn(self, table: Effects) -> None:
        """What the run says of its jitter before the last row: a fall must not excuse itself."""
        before, shares = len(self.kept) - 1, table.shares
        if self.prior is NONE or table.units < 2:
            self._sizes.append(self.prior)
            return
        self._sizes.append(sizes(table.value[:before], shares[:before], expected(between(shares))))

    def _tops(self, z: FloatArray, of: Family) -> list[tuple[int, Sizes]]:
        """The largest contrast of each width, with what was known of the jitter before its window."""
        found = []
        for w in sorted(set(of.width.tolist())):
            rows = np.flatnonzero(of.width == w)
            found.append((int(rows[np.argmax(z[rows])]), self._sizes[-w]))
        return found
