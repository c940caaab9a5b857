"""Changes of many checkpoints from one, with bars that hold all at once.

Reading "worse or not" off forty separate 95 % intervals finds two that miss by chance. Here one critical
value serves all of them: the 95 % point of the largest studentised change under random signs of the
prompts (the multiplier bootstrap of `rm_monitor.stats.multiplier`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rm_monitor.stats.intervals import _NOTHING
from rm_monitor.stats.multiplier import signs, studentised
from rm_monitor.stats.paired import groups
from rm_monitor.types import Estimate, FloatArray

__all__ = ["changes"]

REPLICATES = 2_000  # the 95 % point of the largest change moves by about 1 % between seeds


def changes(
    table: FloatArray,
    origin: int,
    *,
    level: float = 0.95,
    seed: int = 0,
    clusters: NDArray[Any] | None = None,
) -> list[Estimate]:
    """Paired change of each row from one of them, with simultaneous intervals.

    Args:
        table: ``(t, n)``, row = evaluation, column = prompt; nan where unknown.
        origin: The row that the others are compared with.
        level: With this probability all intervals cover at once, in (0, 1).
        seed: Of the random signs.
        clusters: ``(n,)`` labels of prompts that belong together.

    Returns:
        One estimate a row, of the mean over the prompts that both rows know; the origin's own is
        exactly 0 with no width. nan where fewer than two units are shared; equal rows have no width.

    Example:
        >>> y = np.random.default_rng(0).normal([[0.0], [0.0], [-1.0]], 1.0, (3, 200))
        >>> [e.high < 0 for e in changes(y, 0)]
        [False, False, True]
    """
    table = np.asarray(table, dtype=np.float64)
    t, n = table.shape
    difference = table - table[origin]
    known = np.isfinite(difference)
    count = known.sum(axis=1)
    value = np.where(known, difference, 0.0).sum(axis=1) / np.maximum(count, 1)
    residual = np.where(known, difference - value[:, None], 0.0) / np.maximum(count, 1)[:, None]
    group = groups(clusters, n)
    if group is not None:
        summed = np.zeros((t, int(group.max()) + 1 if n else 0))
        np.add.at(summed.T, group, residual.T)
        residual = summed
    units = residual.shape[1]
    spread = np.sqrt((residual**2).sum(axis=1))
    moving = np.flatnonzero((spread > 0) & (count > 1))
    critical = _critical(residual[moving], spread[moving], units, level, seed) if moving.size else 0.0
    error = spread * np.sqrt(units / max(units - 1, 1))
    return [
        Estimate(float(v), float(v - critical * e), float(v + critical * e), int(k)) if k > 1 else _NOTHING
        for v, e, k in zip(value, error, count, strict=True)
    ]


def _critical(residual: FloatArray, spread: FloatArray, units: int, level: float, seed: int) -> float:
    """Of the largest absolute studentised change."""
    sums = residual.astype(np.float32) @ signs(seed, units, REPLICATES).astype(np.float32)
    np.abs(sums, out=sums)
    sums *= (1.0 / spread).astype(np.float32)[:, None]
    return float(np.quantile(studentised(sums.max(axis=0), units), level))
