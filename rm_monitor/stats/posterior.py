"""How probable it is that the chosen evaluation is truly the best one.

Asking how often the chosen row wins when prompts are resampled counts the winner's luck as merit: noise is
added to values that hold noise already. A posterior shrinks them toward each other instead, the more the less
they differ beyond what prompts explain::

    value ~ N(level, S),   level ~ N(m, omega^2),   m flat,   omega averaged over a grid by what the run says

and the probability is the share of draws of the levels in which the chosen one is the highest.
"""

from __future__ import annotations

import math

import numpy as np

from rm_monitor.types import FloatArray

__all__ = ["probability_best"]

_SPREADS = (0.0005, 0.002, 0.004, 0.008, 0.015, 0.03, 0.06, 0.12)  # of levels, as shares of the score
_DRAWS = 1_000
_FORGET = 1e-3  # weight of a spread below which it is left out
_ROUNDING = 1e-14


def probability_best(value: FloatArray, shares: FloatArray, index: int, *, seed: int = 0) -> float:
    """Probability that one row has the highest level.

    Args:
        value: ``(t,)`` measured.
        shares: ``(t, g)`` what each unit adds to them, such that ``shares @ shares.T`` is their covariance.
        index: The row.
        seed: Of the draws.

    Returns:
        In [0, 1]. Rows that are equal throughout (the same weights, say) share their probability.

    Example:
        >>> shares = np.random.default_rng(0).normal(size=(3, 50)) / 500
        >>> probability_best(np.array([0.5, 0.5, 0.7]), shares, 2) > 0.95
        True
        >>> 0.2 < probability_best(np.array([0.5, 0.5, 0.501]), shares, 2) < 0.6
        True
    """
    first, equal = _distinct(value, shares, index)
    value, shares, index = value[first], shares[first], int(np.flatnonzero(first == index)[0])
    t = len(value)
    if t == 1:
        return 1.0 / equal
    size, axes = _axes(shares)
    rng = np.random.default_rng([seed, 2])
    noise, common = rng.standard_normal((len(size), _DRAWS)), rng.standard_normal(_DRAWS)
    one, log, wins = np.ones(t), [], []
    for spread in _SPREADS:
        kept = size / (size + spread**2)

        def solve(x: FloatArray, kept: FloatArray = kept, spread: float = spread) -> FloatArray:
            """Product with the inverse of the covariance of the values."""
            found: FloatArray = (x - axes @ (kept * (axes.T @ x))) / spread**2
            return found

        precision = float(one @ solve(one))
        rest = value - float(one @ solve(value)) / precision
        log.append(
            -0.5 * float(np.log(size + spread**2).sum())
            - (t - len(size)) * math.log(spread)
            - 0.5 * math.log(precision)
            - 0.5 * float(rest @ solve(rest))
        )
        wins.append((kept, rest, precision, spread))
    weight = np.exp(np.array(log) - max(log))
    weight /= weight.sum()
    found = total = 0.0
    for part, (kept, rest, precision, spread) in zip(weight, wins, strict=True):
        if part < _FORGET:
            continue
        level = (rest - axes @ (kept * (axes.T @ rest)))[:, None]
        level = level + axes @ ((spread * np.sqrt(kept))[:, None] * noise)
        level += np.outer(axes @ (kept * (axes.T @ one)), common / math.sqrt(precision))
        found += part * float((level.argmax(axis=0) == index).mean())
        total += part
    return float(found / total / equal)


def _distinct(value: FloatArray, shares: FloatArray, index: int) -> tuple[FloatArray, int]:
    """Rows with only one of each kind of equal ones, the given one among them; how many equal it."""
    table = np.column_stack([value, shares]).round(12)
    _, first, kind = np.unique(table, axis=0, return_index=True, return_inverse=True)
    kind = kind.ravel()
    first[kind[index]] = index
    return np.sort(first), int((kind == kind[index]).sum())


def _axes(shares: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Principal variances ``(q,)`` and directions ``(t, q)`` of the sampling of prompts."""
    t, units = shares.shape
    if t <= units:
        size, axes = np.linalg.eigh(shares @ shares.T)
        some = size > _ROUNDING
        return size[some], axes[:, some]
    size, back = np.linalg.eigh(shares.T @ shares)
    some = size > _ROUNDING
    return size[some], (shares @ back[:, some]) / np.sqrt(size[some])
