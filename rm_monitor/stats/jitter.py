"""How much checkpoints really differ from their neighbours, beyond what the choice of prompts explains."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rm_monitor.stats.paired import Effects, effects, groups
from rm_monitor.stats.pool import pool_scores
from rm_monitor.types import FloatArray

__all__ = ["jitter", "ups_and_downs"]

_FEWEST = 3  # bends, of five rows


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
