"""How much checkpoints really differ from their neighbours, beyond what the choice of prompts explains.

A checkpoint's value is taken as level + jitter + the sampling of prompts. Jitter is new at every checkpoint
and common to all prompts. What a run says of its size stands in the bends of its curve (second
differences), which hold the jitter six times over, the sampling of prompts, which the scores give, and
little of a smooth trend.

The prior says: in seven runs of ten neighbours hardly differ; else by about 1.2 points of pool score (1.5 of
win rate), within a factor of 1.4; now and then by twice that. Published evaluations of 32 pretraining curves
lie between 0 and 1.3 points, three real fine-tuning runs had 0, 0.9 and 1.3. It depends on the error that the
run's prompts leave between neighbours (`expected`): where that is large, a fall must be larger than any
jitter anyway, and expecting jitter costs falls and spares hardly an alarm; where it is small, large jitter is
what false alarms come from. Among the priors that keep their rate up to there, this one costs the fewest
falls (``docs/design/alarm.md``).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from rm_monitor.stats.paired import Effects, effects, groups
from rm_monitor.stats.pool import pool_scores
from rm_monitor.types import FloatArray

__all__ = [
    "LONGEST",
    "NONE",
    "PRIOR",
    "Sizes",
    "between",
    "expected",
    "jitter",
    "of_rows",
    "reach",
    "sizes",
    "ups_and_downs",
]

_SOME, _USUAL_ERROR, _FADING = 0.28, 0.026, 2.2  # probability of jitter, up to this error of a difference
_ORDINARY, _LARGE = (0.012, 1.4), (0.022, 1.5)  # median, factor
_LARGE_SHARE, _MOST_LARGE = 0.05, 0.25  # of what jitters: at the usual error, and where it is far smaller
_GRID = (0.0, 0.002, 0.004, 0.006, 0.009, 0.0125, 0.017, 0.024, 0.035)
_CURVATURE = np.array([0.0, 0.006, 0.02])  # sd of the first bend that is the trend's own; it dies away
_SMOOTH, _FADES = 0.002, 3.0  # sd of a bend of the trend later on; evaluations in which curvature fades
LONGEST = 48  # evaluations that are read: jitter follows learning rate and spacing, which may change
_FEWEST = 3  # bends, of five rows
_HALVINGS = 40
_FAR = 2.0 / _SMOOTH**2  # more than a unit of bends can weigh


@dataclass(frozen=True, slots=True)
class Sizes:
    """What is known of the size of the jitter.

    Attributes:
        size: ``(g,)`` standard deviations, as shares.
        weight: ``(g,)`` probability of each, adding up to 1.
    """

    size: FloatArray
    weight: FloatArray

    @property
    def typical(self) -> float:
        """Root mean square."""
        return float(np.sqrt(self.weight @ self.size**2))

    def quantile(self, p: float) -> float:
        """Size that is not exceeded with this probability, between the grid's sizes."""
        return float(np.interp(p, np.cumsum(self.weight) - self.weight / 2.0, self.size))


def _log_normal(median: float, factor: float) -> FloatArray:
    x = np.log(np.array(_GRID[1:]))
    density = np.exp(-0.5 * ((x - math.log(median)) / math.log(factor)) ** 2) * np.gradient(x)
    found: FloatArray = density / density.sum()
    return found


NONE = Sizes(np.zeros(1), np.ones(1))  # every true fall counts
_ORDINARILY, _NOW_AND_THEN = _log_normal(*_ORDINARY), _log_normal(*_LARGE)


def expected(error: float) -> Sizes:
    """What is taken of the jitter before a run says anything.

    Args:
        error: Standard error of the difference of neighbours, by the sampling of prompts, as a share.

    Example:
        >>> few, many = expected(0.034), expected(0.012)  # about 64 and 512 prompts
        >>> bool(few.weight[0] > many.weight[0]), few.typical < many.typical
        (True, True)
    """
    finer = _USUAL_ERROR / max(error, 1e-9)
    some = _SOME * min(1.0, finer**_FADING)
    large = min(_MOST_LARGE, _LARGE_SHARE * finer**2)
    found = (1.0 - large) * _ORDINARILY + large * _NOW_AND_THEN
    return Sizes(np.array(_GRID), np.concatenate([[1.0 - some], some * found]))


PRIOR = expected(_USUAL_ERROR)


def between(shares: FloatArray) -> float:
    """Standard error of the difference of neighbours, on the average over the last rows.

    Args:
        shares: ``(t, g)`` of at least two rows (`Effects.shares`).
    """
    moved = np.diff(shares[-LONGEST:], axis=0)
    return math.sqrt(float(np.einsum("tg,tg->", moved, moved)) / len(moved))


def sizes(value: FloatArray, shares: FloatArray, prior: Sizes = PRIOR) -> Sizes:
    """What a run says of its jitter.

    Args:
        value: ``(t,)`` of its evaluations, in order.
        shares: ``(t, g)`` what each unit adds to them (`Effects.shares`): their sampling of prompts.
        prior: Known beforehand.

    Returns:
        The prior for fewer than three evaluations.
    """
    t = len(value)
    if t < 3 or len(prior.size) == 1:
        return prior
    value, shares = value[-LONGEST:], shares[-LONGEST:]
    fading = np.exp(-2.0 * np.arange(t - len(value), t - 2) / _FADES)  # learning curves bend at the start
    bend, moved = np.diff(value, 2), np.diff(shares, 2, axis=0)
    m = len(bend)
    sampled = moved @ moved.T
    shape = np.diff(np.diff(np.eye(len(value)), 2, axis=0), 2, axis=1)  # of jitter in bends: overlapping
    variance = (
        (sampled + _SMOOTH**2 * np.eye(m))
        + prior.size[:, None, None, None] ** 2 * shape
        + _CURVATURE[None, :, None, None] ** 2 * np.diag(fading)
    )
    # The bends as one more row of the matrix: its root then holds them whitened, and no system is solved.
    bordered = np.empty((*variance.shape[:2], m + 1, m + 1))
    bordered[..., :m, :m] = variance
    bordered[..., m, :m] = bordered[..., :m, m] = bend
    bordered[..., m, m] = _FAR * (1.0 + bend @ bend)
    root = np.linalg.cholesky(bordered)
    white, own = root[..., m, :m], np.diagonal(root, axis1=-2, axis2=-1)[..., :m]
    log = -0.5 * (white**2).sum(axis=-1) - np.log(own).sum(axis=-1)
    log = np.logaddexp.reduce(log, axis=1) + np.log(prior.weight)
    weight = np.exp(log - log.max())
    return Sizes(prior.size, weight / weight.sum())


def of_rows(rows: FloatArray, *, clusters: NDArray[Any] | None = None) -> Sizes:
    """What is known, before the last of some evaluations, of how much they differ from each other anyway.

    Args:
        rows: ``(t, n)`` shares, nan where unknown, t at least 2.
        clusters: ``(n,)`` labels of prompts that belong together.
    """
    table = effects(rows, groups(clusters, rows.shape[1]))
    if table.units < 2 or not np.isfinite(table.value).all():
        return PRIOR
    shares = table.shares
    return sizes(table.value[:-1], shares[:-1], expected(between(shares)))


def reach(half: float, level: float, known: Sizes) -> float:
    """Half the width of an interval of a change between two evaluations that both have jitter.

    Args:
        half: Half its width by the sampling of prompts alone.
        level: Coverage, in (0, 1), on the average over what is known of the jitter.
        known: Of its size.

    Example:
        >>> reach(0.02, 0.95, NONE), reach(0.02, 0.95, PRIOR) > 0.02
        (0.02, True)
    """
    deviations = float(ndtri((1.0 + level) / 2.0))
    spread = np.maximum(np.hypot(half / deviations, math.sqrt(2.0) * known.size), 1e-12)
    low, high = half, max(half, deviations * float(spread.max()))
    for _ in range(_HALVINGS if high > low else 0):
        middle = (low + high) / 2.0
        beyond = 2.0 * float(known.weight @ ndtr(-middle / spread))
        low, high = (middle, high) if beyond > 1.0 - level else (low, middle)
    return high


def jitter(
    scores: FloatArray,
    *,
    pool: bool = True,
    temperature: float = 1.0,
    clusters: NDArray[Any] | None = None,
) -> float:
    """Standard deviation of the ups and downs that last for one evaluation.

    A curve's second differences hold the jitter six times over, the sampling error of that contrast (which
    the scores of the prompts give), and next to nothing of a smooth trend.

    Args:
        scores: ``(t, n)`` raw rewards (``pool=False``: outcomes), nan where unscored.
        pool: Of pool scores.
        temperature: Of the pool score.
        clusters: ``(n,)`` labels of prompts that belong together.

    Returns:
        As a share; 0 when the ups and downs are no larger than chance makes them; nan with fewer than 5
        evaluations. From 20 evaluations it is good to about a third.

    Example:
        >>> rng = np.random.default_rng(1)
        >>> scores = 0.3 * rng.normal(size=(40, 1)) + rng.normal(size=(40, 400))
        >>> round(jitter(scores), 3), jitter(scores[:4])
        (0.046, nan)
    """
    scores = np.asarray(scores, dtype=np.float64)
    if scores.ndim != 2:
        raise ValueError(
            f"`scores` has one row an evaluation and one column a prompt, got shape {scores.shape}"
        )
    table = effects(pool_scores(scores, temperature) if pool else scores, groups(clusters, scores.shape[1]))
    variance, bends = ups_and_downs(table, np.flatnonzero(np.isfinite(table.value)))
    return math.sqrt(max(0.0, variance)) if bends >= _FEWEST else math.nan


def ups_and_downs(table: Effects, rows: NDArray[np.intp]) -> tuple[float, int]:
    """Variance of the jitter of some rows, unbiased and so perhaps negative, and how many bends it is of."""
    if len(rows) < 3 or table.units < 2:
        return math.nan, 0
    value, influence = table.value[rows], table.influence[rows] / table.n
    bend = np.diff(value, 2)
    chance = (np.diff(influence, 2, axis=0) ** 2).sum(axis=1) * table.units / (table.units - 1.0)
    return float((bend**2 - chance).mean()) / 6.0, len(bend)
