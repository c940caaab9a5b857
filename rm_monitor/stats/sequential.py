"""Intervals that hold at every look at a growing sample, so that one may stop at any of them.

Repeated confidence intervals (Jennison and Turnbull, J. R. Stat. Soc. B 51, 1989, 305-361) of the boundary of
O'Brien and Fleming (Biometrics 35, 1979, 549-556): wide at first, nearly as narrow at the end as an interval
that is looked at once. They hold together whatever the reason for stopping was.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise

import numpy as np
from scipy.optimize import brentq
from scipy.special import ndtr

from rm_monitor.types import FloatArray

__all__ = ["repeated_levels"]

_GRID = 401  # points between the boundaries; four digits agree with 801


def repeated_levels(sizes: Sequence[int], *, level: float = 0.95) -> FloatArray:
    """Level of each look's own interval, so that all of them cover together with probability ``level``.

    Args:
        sizes: ``(k,)`` units known at each look, rising; looks are planned before anything is seen.
        level: Of all intervals together, in (0, 1).

    Returns:
        ``(k,)`` in (0, 1], falling.

    Raises:
        ValueError: If the sizes do not rise or the level is outside (0, 1).

    Example:
        >>> [round(float(x), 4) for x in repeated_levels([64, 128, 192, 256])]  # 2.02 errors at the end
        [0.9999, 0.9958, 0.9806, 0.9571]
    """
    if not 0 < level < 1:
        raise ValueError(f"`level` is the coverage of all intervals together, in (0, 1), got {level}")
    known = tuple(int(n) for n in sizes)
    if not known or known[0] < 1 or any(b <= a for a, b in pairwise(known)):
        raise ValueError(
            f"`sizes` are how many units each look has, at least 1 and rising, got {list(sizes)}"
        )
    times = np.array(known) / known[-1]
    bars = _constant(known, 1.0 - level) / np.sqrt(times)
    levels: FloatArray = 1.0 - 2.0 * ndtr(-bars)
    return levels


@lru_cache(maxsize=64)
def _constant(sizes: tuple[int, ...], alpha: float) -> float:
    """What a Brownian motion exceeds at one of these times, last one 1, with probability ``alpha``."""
    times = [n / sizes[-1] for n in sizes]
    top = math.sqrt(2.0) * 6.0
    return float(brentq(lambda bar: _ever_beyond(bar, times) - alpha, 0.01, top, xtol=1e-6))


def _ever_beyond(bar: float, times: Sequence[float]) -> float:
    """Probability, by Simpson's rule over where the motion is while it has stayed inside."""
    at = np.linspace(-bar, bar, _GRID)
    weight = np.ones(_GRID)
    weight[1:-1:2], weight[2:-1:2] = 4.0, 2.0
    weight *= (at[1] - at[0]) / 3.0
    inside = _density(at, times[0])
    for before, now in pairwise(times):
        inside = _density(at[:, None] - at, now - before) @ (weight * inside)
    return 1.0 - float(weight @ inside)


def _density(x: FloatArray, variance: float) -> FloatArray:
    return np.exp(-0.5 * x**2 / variance) / math.sqrt(2.0 * math.pi * variance)
