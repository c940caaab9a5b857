"""How much two checkpoints of a run differ prompt by prompt: what decides how many prompts it takes.

The spread is a standard deviation over prompts of the difference of two checkpoints' pool scores. Neighbours
differ less than checkpoints far apart, the more so as all of them answer with the same noise: an answer then
changes only where the model did.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rm_monitor.stats.bends import sizes
from rm_monitor.stats.paired import effects, groups
from rm_monitor.stats.pool import pool_scores
from rm_monitor.types import Estimate, FloatArray

__all__ = ["Spread", "jitter_of_run", "spread_of_run", "spread_of_two_answers"]

_ROWS = 20  # evaluations of the run that two answers a prompt are drawn out to
_ONE_DEGREE = (
    0.87  # two draws know a scale badly, and a bounded score loses by it: .84 to .90 in all cases tried
)
_LEAST = 1e-6
_TOGETHER = 256  # rows that are compared with all others at once


class Spread(NamedTuple):
    """Standard deviations over prompts of the difference of two checkpoints' pool scores.

    Attributes:
        far: Of checkpoints at least half a run apart.
        near: Of neighbours.
    """

    far: float
    near: float


def spread_of_run(scores: FloatArray, *, pool: bool = True, temperature: float = 1.0) -> Spread:
    """What a run shows of it.

    Args:
        scores: ``(t, n)`` raw rewards, or outcomes where not ``pool``; nan where unscored.
        pool: Compare by pool score.
        temperature: Of the pool score.

    Returns:
        nan with fewer than three evaluations or ten prompts: a plan then keeps its own.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> same = np.cumsum(0.2 * rng.normal(size=(20, 300)), axis=0)  # answers that change slowly
        >>> found = spread_of_run(same)
        >>> found.near < 0.5 * found.far
        True
    """
    t, n = np.shape(scores)
    if t < 3 or n < 10:
        return Spread(math.nan, math.nan)
    table = pool_scores(scores, temperature) if pool else np.asarray(scores, dtype=np.float64)
    return Spread(_far(table, max(t // 2, 2)), _spread(table[1:] - table[:-1]))


def jitter_of_run(
    scores: FloatArray,
    *,
    pool: bool = True,
    temperature: float = 1.0,
    clusters: NDArray[Any] | None = None,
) -> Estimate:
    """What a run says of its ups and downs, with an interval: the size that its alarm reckons with.

    Args:
        scores: ``(t, n)`` raw rewards, or outcomes where not ``pool``; nan where unscored.
        pool: Of pool scores.
        temperature: Of the pool score.
        clusters: ``(n,)`` labels of prompts that belong together.

    Returns:
        Root mean square and 95 % interval of a posterior, as shares, and the number of evaluations; nan with
        fewer than five, which say next to nothing.

    Example:
        >>> rng = np.random.default_rng(1)
        >>> shaken = 0.1 * rng.normal(size=(30, 1)) + rng.normal(size=(30, 400))
        >>> found = jitter_of_run(shaken)
        >>> found.low < 0.02 < found.high, found.n
        (True, 30)
    """
    table = pool_scores(scores, temperature) if pool else np.asarray(scores, dtype=np.float64)
    if len(table) < 5:
        return Estimate(math.nan, math.nan, math.nan, len(table))
    apart = effects(table, groups(clusters, table.shape[1]))
    known = sizes(apart.value, apart.shares)
    return Estimate(known.typical, known.quantile(0.025), known.quantile(0.975), len(table))


def spread_of_two_answers(scores: FloatArray, *, temperature: float = 1.0, seed: int = 0) -> float:
    """What two answers a prompt of one model say of it, before a run.

    The two differ by the draw alone, with a noise each. A run adds that its checkpoints differ, and takes
    away that they share their noise; which is more depends on the learning rate.

    Args:
        scores: ``(2, n)`` raw rewards; nan where unscored.
        temperature: Of the pool score.
        seed: Of the run that they are drawn out to, which has the same differences prompt by prompt.

    Returns:
        The spread; nan if fewer than ten prompts have both scores.
    """
    both = np.asarray(scores, dtype=np.float64)
    both = both[:, np.isfinite(both).all(axis=0)]
    if both.shape[1] < 10:
        return math.nan
    middle, size = both.mean(axis=0), np.abs(both[0] - both[1]) / math.sqrt(2.0)
    drawn = np.random.default_rng([seed, 4]).normal(size=(_ROWS, both.shape[1]))
    table = pool_scores(middle + size * drawn, temperature)
    return max(_spread(table[1:] - table[:-1]) / _ONE_DEGREE, _LEAST)


def _far(table: FloatArray, least: int) -> float:
    """Root mean square, over lags from ``least`` on, of the spread at that lag.

    All pairs of rows at once: a run of 5,000 evaluations has millions of them.
    """
    t = len(table)
    known = np.isfinite(table)
    mask, x = known.astype(np.float64), np.where(known, table, 0.0)
    square = x**2
    total, count = np.zeros(t), np.zeros(t)
    for first in range(0, t - least, _TOGETHER):
        part = slice(first, first + _TOGETHER)
        n = mask[part] @ mask.T
        change = mask[part] @ x.T - x[part] @ mask.T
        squares = square[part] @ mask.T + mask[part] @ square.T - 2.0 * (x[part] @ x.T)
        lag = np.arange(t) - np.arange(first, first + len(n))[:, None]
        used = (lag >= least) & (n > 1)
        size = n[used]
        variance = np.maximum(squares[used] / size - (change[used] / size) ** 2, 0.0)
        total += np.bincount(lag[used], variance, minlength=t)
        count += np.bincount(lag[used], minlength=t)
    if not count[least:].all():
        return math.nan
    return math.sqrt(float((total[least:] / count[least:]).mean()))


def _spread(differences: FloatArray) -> float:
    """Root mean square over rows of the standard deviation over prompts."""
    return _root_mean([float(np.nanstd(row)) for row in differences if np.isfinite(row).sum() > 1])


def _root_mean(spreads: list[float]) -> float:
    return float(np.sqrt(np.mean(np.square(spreads)))) if spreads else math.nan
