"""How much checkpoints really differ from their neighbours, beyond what the choice of prompts explains.

A checkpoint's value is taken as level + jitter + the sampling of prompts. Jitter is new at every checkpoint
and common to all prompts. What a run says of its size stands in the bends of its curve (second
differences), which hold the jitter six times over, the sampling of prompts, which the scores give, and
little of a smooth trend.

The prior says: in seven runs of ten neighbours hardly differ; else by about 1.2 points of pool score (1.5 of
win rate), within a factor of 1.4; now and then by twice that. Published evaluations of 32 pretraining curves
lie between 0 and 1.3 points, three real fine-tuning runs had 0, 0.9 and 1.3. Among the priors that keep the
rate of false alarms up to there, this one costs the fewest falls (``docs/design/alarm.md``).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rm_monitor.stats.paired import Effects, effects, groups
from rm_monitor.stats.pool import pool_scores
from rm_monitor.types import FloatArray

__all__ = ["NONE", "PRIOR", "Sizes", "jitter", "sizes", "ups_and_downs"]

_AT_NONE = 0.70
_ORDINARY, _LARGE = (0.95, 0.012, 1.4), (0.05, 0.022, 1.5)  # weight, median, factor of what is left
_GRID = (0.0, 0.002, 0.004, 0.006, 0.009, 0.0125, 0.017, 0.024, 0.035)
_CURVATURE = np.array([0.0, 0.006, 0.02])  # sd of the first bend that is the trend's own; it dies away
_SMOOTH, _FADES = 0.002, 3.0  # sd of a bend of the trend later on; evaluations in which curvature fades
_LONGEST = 48  # evaluations that are read: jitter follows learning rate and spacing, which may change
_FEWEST = 3  # bends, of five rows
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


def _prior() -> Sizes:
    size = np.array(_GRID)
    x = np.log(size[1:])
    found = np.zeros(len(x))
    for part, median, factor in (_ORDINARY, _LARGE):
        density = np.exp(-0.5 * ((x - math.log(median)) / math.log(factor)) ** 2) * np.gradient(x)
        found += part * density / density.sum()
    return Sizes(size, np.concatenate([[_AT_NONE], (1.0 - _AT_NONE) * found]))


PRIOR = _prior()
NONE = Sizes(np.zeros(1), np.ones(1))  # every true fall counts


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
    value, shares = value[-_LONGEST:], shares[-_LONGEST:]
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
