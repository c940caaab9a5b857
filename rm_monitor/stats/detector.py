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

from rm_monitor.stats.jitter import ups_and_downs
from rm_monitor.stats.look import MIN_COVERAGE, MIN_UNITS, Look, contrasts
from rm_monitor.stats.multiplier import REPLICATES, largest, resampled, signs
from rm_monitor.stats.paired import Effects, effects, groups
from rm_monitor.stats.pool import Pool
from rm_monitor.stats.retest import DIRECT, FreshBudget
from rm_monitor.stats.spending import Budget, spent_by
from rm_monitor.types import FloatArray, Tolerance

__all__ = ["Detector"]

_NOISE = 1e-9  # differences of scores in [0, 1] below this are rounding
_POWER = 0.80
_JITTER, _ASSUMED = 0.015, 4  # what jitter is taken to be before a run shows its own, worth so many bends


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
        windows: Sequence[int] = (1, 2, 3),
        min_drop: float = 0.02,
        tolerance: Tolerance = 0.0,
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
        if tolerance == "jitter" and confirm_on_warn:
            raise ValueError(
                '`tolerance="jitter"` is not for `confirm_on_warn`: fresh prompts see the jitter too. '
                "Give a size, such as twice `rm_monitor.stats.jitter` of an earlier run"
            )
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
        self._pool = Pool(temperature=temperature) if pool else None
        self._rows: list[FloatArray] = []
        self._kept: list[int] = []  # indices of the rows that are compared; a gap is not
        self._budgets = [Budget(replicates, level) for level in self.levels]
        self._fresh = FreshBudget(replicates) if confirm_on_warn else None
        self._table: Effects | None = None
        self._added = 0
        self._fullest = 0

    def __len__(self) -> int:
        """Rows added so far."""
        return self._added

    @property
    def table(self) -> Effects | None:
        """What is compared now, taken apart: one row for each entry of `compared`; None before the first."""
        return self._table

    @property
    def compared(self) -> tuple[int, ...]:
        """Indices of the rows that are compared: all but the gaps."""
        return tuple(self._kept)

    def add(self, row: FloatArray) -> tuple[Look, ...]:
        """Take the ``(n,)`` scores of the next evaluation, nan where unscored; one look for each level.

        A row with less than 80 % of the prompts of the fullest row is a gap: its look says nothing and it
        is no evidence later.

        Raises:
            ValueError: If the row has another length than the rows before, or outcomes lie outside [0, 1].
        """
        row = self._checked(row)
        index = self._added
        self._added += 1
        n = int(np.isfinite(row).sum())
        self._fullest = max(self._fullest, n)
        spent = tuple(spent_by(index, alpha=level, horizon=self.horizon) for level in self.levels)
        if n == 0 or n < MIN_COVERAGE * self._fullest:
            return tuple(Look(n=n, spent=s) for s in spent)
        self._kept.append(index)
        if self._pool is None:
            self._rows.append(row)
            table = np.array(self._rows)
        else:
            self._pool.add(row)
            table = self._pool.scores()
        self._table = effects(table, groups(self.clusters, row.size))
        if len(self._kept) < 2:
            return tuple(Look(n=n, spent=s) for s in spent)
        return self._look(self._table, n, spent)

    def _checked(self, row: FloatArray) -> FloatArray:
        row = np.asarray(row, dtype=np.float64)
        if row.ndim != 1:
            raise ValueError(
                f"an evaluation is one score a prompt, an array of shape (n,); got shape {row.shape}"
            )
        if self._added == 0:
            self._n = row.size
        if row.size != self._n:
            raise ValueError(
                f"every evaluation holds the same {self._n} prompts (nan where unscored), got {row.size}; "
                "start anew when the prompts change"
            )
        row = np.where(np.isfinite(row), row, np.nan)
        if (
            self._pool is None
            and row.size
            and (np.nanmin(row, initial=0) < 0 or np.nanmax(row, initial=1) > 1)
        ):
            raise ValueError(
                "with `pool=False` scores are outcomes in [0, 1]; give raw rewards with `pool=True`"
            )
        return row

    def _look(self, table: Effects, n: int, spent: tuple[float, ...]) -> tuple[Look, ...]:
        family = contrasts(len(self._kept), self.windows)
        drop, se, scale = _measure(table, family.weights)
        usable = se > 0
        if self.jitter:
            both = [self._jitter(table, int(w)) * math.sqrt(2.0 / w) for w in family.width]
            se = np.where(usable, np.hypot(se, both), 0.0)
        if not usable.any():
            return tuple(Look(n=n, spent=s) for s in spent)
        z = np.where(usable, (drop - self.tolerance) / np.where(usable, se, 1.0), -np.inf)
        top = int(np.argmax(z))
        sums = resampled(table.influence, signs(self.seed, table.influence.shape[1], self.replicates))
        healthy = largest(sums, family.weights[usable], scale[usable], table.units)
        typical = min(float(np.median(se[usable & (family.width == w)])) for w in set(family.width[usable]))
        looks = []
        own = [DIRECT if self._fresh is not None and i == 0 else 1.0 for i in range(len(self.levels))]
        for level, budget, used, part in zip(self.levels, self._budgets, spent, own, strict=True):
            critical, p = budget.bar(healthy, float(z[top]), part * used)
            looks.append(
                Look(
                    flagged=bool(z[top] > critical and drop[top] >= self.min_drop),
                    low=float(drop[top] - critical * se[top]) if math.isfinite(critical) else math.nan,
                    drop=float(drop[top]),
                    against=self._named(family.past[top], family.width[top]),
                    now=self._named(len(self._kept) - 1, family.width[top]),
                    p=p,
                    spent=used,
                    n=n,
                    critical=critical,
                    visible=self._visible(healthy, typical, level),
                )
            )
        if self._fresh is not None:
            warning = looks[-1]
            level = self._fresh.level(healthy, float(z[top]), warning.critical, (1.0 - DIRECT) * spent[0])
            looks[-1] = replace(warning, fresh_level=level if warning.flagged else math.nan)
        return tuple(looks)

    def _jitter(self, table: Effects, width: int) -> float:
        """What checkpoints differed by before the present window, which must not excuse its own fall."""
        variance, bends = ups_and_downs(table, np.arange(len(self._kept) - width))
        known = bends * variance if bends else 0.0
        return math.sqrt(max(0.0, (_ASSUMED * _JITTER**2 + known) / (_ASSUMED + bends)))

    def _named(self, end: int, width: int) -> tuple[int, ...]:
        return tuple(self._kept[end - width + 1 : end + 1])

    def _visible(self, healthy: NDArray[np.float32], se: float, level: float) -> float:
        """At the bar of the last planned look, so that the number does not wait for the budget."""
        last = (self.horizon or 20) - 1
        share = 2.0 / (last + 1) * (level if self.horizon else level / 2) if last > 0 else level
        bar = float(np.quantile(healthy, 1.0 - share))
        return self.tolerance + (bar + float(ndtri(_POWER))) * se


def _measure(table: Effects, weights: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Each contrast's value, standard error (0: says nothing) and root sum of squares, each ``(k,)``."""
    influence = weights @ table.influence
    scale = np.sqrt((influence**2).sum(axis=1))
    differing = (np.abs(influence) > _NOISE).sum(axis=1)
    units = max(table.units, 2)
    se = scale * np.sqrt(units / (units - 1.0)) / max(table.n, 1)
    return weights @ table.value, np.where(differing >= MIN_UNITS, se, 0.0), scale
