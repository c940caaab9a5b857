"""The alarm of a growing run.

Each look contrasts the last one, two and three evaluations with every earlier window of the same width. The
largest studentised contrast is compared with a critical value from the joint law of all contrasts at all
looks (multiplier bootstrap), so looking often and comparing with the *best* earlier point, which is best
partly by luck, cost nothing extra: a healthy run raises the alarm once with probability ``alpha``. Windows
are of equal width because then a skewed contrast is as likely to err up as down.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from rm_monitor.stats.fresh_prompts import DIRECT, FreshBudget
from rm_monitor.stats.healthy import EQUAL, ahead
from rm_monitor.stats.look import MIN_UNITS, Look
from rm_monitor.stats.multiplier import REPLICATES
from rm_monitor.stats.paired import Effects
from rm_monitor.stats.readings import Reading, Readings
from rm_monitor.stats.spending import FIRST_EPOCH, Bar, Budget, spent_by
from rm_monitor.stats.windows import WIDTHS
from rm_monitor.types import FloatArray, Tolerance

__all__ = ["Detector"]

_POWER = 0.80


class Detector:
    """The looks of a growing run: `add` an evaluation, get its look.

    The state after ``t`` rows depends on the rows and the arguments alone, so a resumed run that adds the
    same rows goes on exactly as if it had never stopped.

    Args:
        levels: False-alarm rates to judge at, each with a budget of its own; they share the work.
        pool: Rows are raw rewards and are compared by pool score; False: rows are outcomes in [0, 1].
        temperature: Of the pool score.
        horizon: Evaluations the run will have, the first included; None: unknown.
        windows: Widths of the windows that are contrasted.
        min_drop: A fall below this is never flagged.
        tolerance: A fall up to this is healthy: the test is of a fall beyond it. ``"jitter"``: the run's own
            ups and downs before the present window (`jitter`) count as chance, 1.5 points until it shows any.
        seed: Of the resamples.
        clusters: ``(n,)`` labels of prompts that belong together.
        confirm_on_warn: The first two looks beyond the last level carry a ``fresh_level``, at which a
            `retest` counts as an alarm of the first level, which keeps 2/5 of its rate for itself.
        replicates: Resamples.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> detector = Detector(horizon=4)
        >>> rows = [rng.normal(level, 1.0, 200) for level in (0.0, 1.0, 1.0, -1.0)]
        >>> [detector.add(row)[0].flagged for row in rows]
        [False, False, False, True]
    """

    def __init__(
        self,
        *,
        levels: Sequence[float] = (0.05,),
        pool: bool = True,
        temperature: float = 1.0,
        horizon: int | None = None,
        windows: Sequence[int] = WIDTHS,
        min_drop: float = 0.02,
        tolerance: Tolerance = "jitter",
        seed: int = 0,
        clusters: NDArray[Any] | None = None,
        confirm_on_warn: bool = False,
        replicates: int = REPLICATES,
    ) -> None:
        for level in levels:
            if not 0 < level < 1:
                raise ValueError(
                    f"`alpha` is the false-alarm rate of a run and must be in (0, 1), got {level}"
                )
        if horizon is not None and horizon < 1:
            raise ValueError(
                f"`horizon` counts evaluations and must be at least 1 (None: unknown), got {horizon}"
            )
        if not windows or min(windows) < 1:
            raise ValueError(f"`windows` holds widths of at least 1 evaluation, got {tuple(windows)}")
        if isinstance(tolerance, str) and tolerance != "jitter":
            raise ValueError(f'`tolerance` is a share in [0, 1) or "jitter", got {tolerance!r}')
        fixed = 0.0 if tolerance == "jitter" else tolerance
        for name, value in (("min_drop", min_drop), ("tolerance", fixed)):
            if not 0 <= value < 1:
                raise ValueError(f"`{name}` is a share in [0, 1), such as 0.02 for 2 points, got {value}")
        if confirm_on_warn and not (len(levels) == 2 and levels[0] < levels[1]):
            raise ValueError(
                "with `confirm_on_warn`, `levels` are the rate of the alarm and the higher one of warnings, "
                f"got {tuple(levels)}"
            )
        self.levels = tuple(levels)
        self.horizon = horizon
        self.windows = tuple(sorted(set(windows)))
        self.min_drop = min_drop
        self.tolerance = fixed
        self.jitter = tolerance == "jitter"
        self.seed = seed
        self.clusters = clusters
        self.replicates = replicates
        self._readings = Readings(
            pool=pool,
            temperature=temperature,
            windows=self.windows,
            tolerance=fixed,
            jitter=self.jitter,
            seed=seed,
            clusters=clusters,
            replicates=replicates,
        )
        sets = len(self._readings.prior.size)
        self._budgets = [Budget(sets, replicates, level) for level in self.levels]
        self._fresh = FreshBudget(sets, replicates) if confirm_on_warn else None

    def __len__(self) -> int:
        """Rows added so far."""
        return self._readings.added

    @property
    def table(self) -> Effects | None:
        """What is compared now, taken apart: one row for each entry of `compared`; None before the first."""
        return self._readings.table

    @property
    def compared(self) -> tuple[int, ...]:
        """Indices of the rows that are compared: all but the gaps."""
        return tuple(self._readings.kept)

    def add(self, row: FloatArray) -> tuple[Look, ...]:
        """Take the ``(n,)`` scores of the next evaluation, nan where unscored; one look for each level.

        A row with less than 80 % of the prompts of the fullest row is a gap: its look says nothing and it
        is no evidence later.

        Raises:
            ValueError: If the row has another length than the rows before, or outcomes lie outside [0, 1].
        """
        index = len(self)
        read = self._readings.add(row)
        n = self._readings.n
        spent = tuple(spent_by(index, alpha=level, horizon=self.horizon) for level in self.levels)
        if read is None:
            return tuple(Look(n=n, spent=s) for s in spent)
        return self._look(read, n, spent)

    def _look(self, read: Reading, n: int, spent: tuple[float, ...]) -> tuple[Look, ...]:
        seen, known, units = read.seen, read.known, read.table.units
        typical = known.typical if self.jitter else math.nan
        if not read.tops:
            deaf = math.inf if units < MIN_UNITS else math.nan
            return tuple(Look(n=n, units=units, spent=s, visible=deaf, jitter=typical) for s in spent)
        looks, at = [], 0
        for i, (level, budget, used) in enumerate(zip(self.levels, self._budgets, spent, strict=True)):
            part = DIRECT if self._fresh is not None and i == 0 else 1.0
            bar = budget.bar(read.healthy, part * used)
            told, tails, flagged = read.alarms(bar, level, self.min_drop)
            at, sizes = read.tops[told]
            width = int(seen.of.width[at])
            critical = bar.critical(sizes.weight)
            p = min(tails)
            beyond = p > level and bool(bar.chance(float(read.z[at]))[0] <= bar.rooms[0])
            looks.append(
                Look(
                    flagged=flagged,
                    dip=beyond and bool(seen.drop[at] >= self.min_drop),
                    low=float(seen.drop[at] - critical * seen.error[at]),
                    drop=float(seen.drop[at]),
                    against=self._named(int(seen.of.first[at]), width),
                    now=self._named(seen.of.t - width, width),
                    p=p,
                    spent=used,
                    n=n,
                    units=units,
                    critical=critical,
                    visible=self._visible(bar, read, level),
                    jitter=typical,
                )
            )
        if self._fresh is not None:
            asked = self._fresh.level(
                read.healthy,
                float(read.z[at]),
                looks[-1].critical,
                (1.0 - DIRECT) * spent[0],
                weight=known.weight,
                ahead=self._ahead(read) if self.jitter else None,
            )
            looks[-1] = replace(looks[-1], fresh_level=asked if looks[-1].flagged else math.nan)
        return tuple(looks)

    def _ahead(self, read: Reading) -> NDArray[np.float32]:
        """How far jitter alone puts each healthy run's best before its last, in errors of a fresh pair."""
        of, sampling = read.seen.of, read.seen.sampling
        error = math.sqrt(max(float(np.median(sampling[of.width == 1])), EQUAL**2))
        lead = ahead(read.table, of, read.known.size, seed=self.seed, replicates=self.replicates)
        return lead / np.float32(error)

    def _named(self, first: int, width: int) -> tuple[int, ...]:
        return tuple(self._readings.kept[first : first + width])

    def _visible(self, bar: Bar, read: Reading, level: float) -> float:
        """At the bar of the last planned look, so that the number does not wait for the budget."""
        seen, known = read.seen, read.known
        last = max((self.horizon or FIRST_EPOCH + 1) - 1, 1)
        before, after = (spent_by(i, alpha=level, horizon=self.horizon) for i in (last - 1, last))
        share = after - before
        critical = bar.critical(known.weight, share)
        lasting = []
        for w in set(seen.of.width[seen.usable].tolist()):
            rows = seen.usable & (seen.of.width == w)
            error = float(np.median(seen.error[rows]))
            chance = math.sqrt(float(np.median(seen.sampling[rows])) + known.typical**2 * 2.0 / w)
            lasting.append(critical * error + float(ndtri(_POWER)) * chance)
        return self.tolerance + min(lasting)
