"""Which evaluation is the best of a run, how sure is that, and which others may be it as well."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rm_monitor.stats.multiplier import resampled, signs, studentised
from rm_monitor.stats.paired import Effects, effects, groups
from rm_monitor.stats.pool import pool_scores
from rm_monitor.stats.posterior import probability_best
from rm_monitor.types import BoolArray, FloatArray

__all__ = ["BestChoice", "best", "choose", "highest"]

_REPLICATES = 2_000
_LEVEL = 0.95
_LEADING = 48  # rows that are compared with all others
_EQUAL = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class BestChoice:
    """The best of some evaluations.

    Attributes:
        index: Its row.
        p_best: Probability that it is truly the best, in [0, 1] (`probability_best`).
        tied: Rows that may be the best as well, eligible or not, its own left out: together with ``index``
            they hold the truly best row in 95 % of runs. Where a row that is not eligible is surely better,
            this, ``p_best`` and ``cost`` are told among the eligible ones.
        cost: What taking this row costs at most against whichever is truly the best, as a share of the score.
            All such bounds of a run, of whatever row is taken after looking, hold together in 95 % of runs
            (multiple comparisons with the best: Hsu, Annals of Statistics 12, 1984).
        earliest: The first eligible one of ``tied`` and ``index``.
        earliest_cost: The same bound for that one.
        pool: ``(t,)`` what was compared: mean pool score of each row; nan for a row without scores.
    """

    index: int
    p_best: float
    tied: tuple[int, ...]
    cost: float
    earliest: int
    earliest_cost: float
    pool: FloatArray


def best(
    scores: FloatArray,
    *,
    eligible: BoolArray | None = None,
    ties: FloatArray | None = None,
    pool: bool = True,
    temperature: float = 1.0,
    seed: int = 0,
    clusters: NDArray[Any] | None = None,
) -> BestChoice:
    """The row with the highest mean pool score.

    No smoothing: real checkpoints jitter, and every smoother tried lost twice as much there as it won on a
    smooth truth (``docs/design/``).

    Args:
        scores: ``(t, n)`` raw rewards (``pool=False``: outcomes), nan where unscored. All rows take part in
            the pool.
        eligible: ``(t,)`` rows that may be chosen, such as those still on disk; None: all.
        ties: ``(t,)`` breaks exact ties, highest first, such as the headline metric; then the earliest row
            wins.
        pool: Compare by pool score.
        temperature: Of the pool score.
        seed: Of the resamples.
        clusters: ``(n,)`` labels of prompts that belong together.

    Raises:
        ValueError: If no row is eligible and scored, or shapes differ.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> scores = np.array([[0.0], [2.0], [1.0]]) + rng.normal(size=(3, 200))
        >>> choice = best(scores)
        >>> choice.index, choice.p_best > 0.99, choice.tied, choice.cost
        (1, True, (), 0.0)
    """
    scores = np.asarray(scores, dtype=np.float64)
    if scores.ndim != 2:
        raise ValueError(
            f"`scores` has one row an evaluation and one column a prompt, got shape {scores.shape}"
        )
    table = effects(pool_scores(scores, temperature) if pool else scores, groups(clusters, scores.shape[1]))
    return choose(table, eligible=eligible, ties=ties, seed=seed)


def choose(
    table: Effects, *, eligible: BoolArray | None = None, ties: FloatArray | None = None, seed: int = 0
) -> BestChoice:
    """`best` for scores that were taken apart before (`Detector.table`)."""
    allowed = _mask(eligible, len(table.value)) & np.isfinite(table.value)
    if not allowed.any():
        raise ValueError(
            f"`eligible` must leave a row with scores to choose from, got none of {len(table.value)}"
        )
    rows = np.flatnonzero(np.isfinite(table.value))
    index = highest(table.value, np.flatnonzero(allowed), ties)
    if table.units < 2:  # nothing says how sure any of it is
        rows = np.flatnonzero(allowed)
        others = tuple(int(r) for r in rows if r != index)
        first = int(rows[0])
        return BestChoice(
            index=index,
            p_best=1.0 if not others else math.nan,
            tied=others,
            cost=math.nan,
            earliest=first,
            earliest_cost=math.nan,
            pool=table.value,
        )
    at, reach, held = _reach(table, rows, index, seed)
    if index not in held:  # one that is not eligible is surely better: told beside those that are
        rows = np.flatnonzero(allowed)
        at, reach, held = _reach(table, rows, index, seed)
    value, shares = table.value[rows], table.shares[rows]
    tied = [r for r in held if r != index]
    earliest = min([index, *(r for r in tied if allowed[r])])
    return BestChoice(
        index=index,
        p_best=probability_best(value, shares, at, seed=seed),
        tied=tuple(tied),
        cost=reach.cost(at),
        earliest=earliest,
        earliest_cost=reach.cost(int(np.flatnonzero(rows == earliest)[0])),
        pool=table.value,
    )


def _reach(table: Effects, rows: NDArray[np.intp], index: int, seed: int) -> tuple[int, _Reach, list[int]]:
    """Where a row is among some, how far chance reaches between these, and which of them may be the best."""
    at = int(np.flatnonzero(rows == index)[0])
    reach = _Reach(table.value[rows], table.shares[rows], table.units, at, seed)
    return at, reach, [int(r) for r in rows[reach.may_be_best()]]


def _mask(eligible: BoolArray | None, t: int) -> BoolArray:
    if eligible is None:
        return np.ones(t, dtype=np.bool_)
    eligible = np.asarray(eligible, dtype=np.bool_)
    if eligible.shape != (t,):
        raise ValueError(f"`eligible` has one entry a row, shape ({t},); got shape {eligible.shape}")
    return eligible


def highest(value: FloatArray, rows: NDArray[np.intp], ties: FloatArray | None) -> int:
    """The one of these rows with the highest value; exact ties go to ``ties``, then to the earliest."""
    equal = rows[value[rows] >= value[rows].max() - _EQUAL]
    if ties is None or len(equal) == 1:
        return int(equal[0])
    headline = np.asarray(ties, dtype=np.float64)
    if headline.shape != value.shape:
        raise ValueError(f"`ties` has one entry a row, shape {value.shape}; got shape {headline.shape}")
    return int(equal[np.argmax(np.nan_to_num(headline[equal], nan=-np.inf))])


class _Reach:
    """How far chance reaches between the rows of a choice.

    Each of the leading rows is compared with all others at once (max-T, restudentised). In a long run the
    rows behind the leading ones take over their largest critical value.
    """

    def __init__(self, value: FloatArray, shares: FloatArray, units: int, chosen: int, seed: int) -> None:
        self._value, self._shares = value, shares
        order = np.argsort(-value, kind="stable")[:_LEADING]
        self._lead = np.unique(np.append(order, chosen))
        plain = shares * math.sqrt((units - 1.0) / units)  # root sums of squares, as `studentised` takes them
        noise = resampled(plain[self._lead], signs(seed, shares.shape[1], _REPLICATES))
        own = plain[self._lead]
        critical = np.zeros(len(self._lead))
        for i in range(len(self._lead)):
            scale = np.sqrt(((own - own[i]) ** 2).sum(axis=1))
            others = np.flatnonzero(scale > _EQUAL)
            if others.size:
                top = ((noise[others] - noise[i]) / scale[others, None].astype(np.float32)).max(axis=0)
                critical[i] = float(np.quantile(studentised(top, units), _LEVEL))
        self._critical = np.full(len(value), critical.max(initial=0.0))
        self._critical[self._lead] = critical

    def may_be_best(self) -> BoolArray:
        """``(t,)`` rows that no leading row is above by more than chance; the best is left out in 5 %."""
        keep = np.ones(len(self._value), dtype=np.bool_)
        for s in self._lead:
            above = self._value[s] - self._value
            keep &= above <= self._critical * self._error(int(s)) + _EQUAL
        return keep

    def cost(self, row: int) -> float:
        """By how much the truly best row is at most above this one."""
        above = self._value - self._value[row] + self._critical * self._error(row)
        above[row] = 0.0
        return max(0.0, float(above.max()))

    def _error(self, row: int) -> FloatArray:
        """``(t,)`` standard errors of the differences from a row."""
        found: FloatArray = np.sqrt(((self._shares - self._shares[row]) ** 2).sum(axis=1))
        return found
