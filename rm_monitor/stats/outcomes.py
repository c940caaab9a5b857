"""One prompt, two completions: do they tie, who won, and how likely was it.

The tie rule of the whole package is `tie_width`: whether two rewards tie depends on these two and on the
scorer, never on what else stands in the array, so one pair is judged alike wherever it is met.
"""

from __future__ import annotations

import numpy as np
from scipy.special import expit

from rm_monitor.types import FloatArray

__all__ = ["check_temperature", "outcome", "settled", "tie_width", "win_probability"]

REPEATS = 1e-5  # a float32 forward repeats to about this share of a score's size over batch shapes (measured)


def tie_width(a: FloatArray, b: FloatArray, *, noise: float = 0.0) -> FloatArray:
    """Largest difference of two rewards that is float noise, so that a collapsed model draws no curve.

    Args:
        a: Rewards, of any shape that broadcasts against ``b``.
        b: Rewards by the same scorer.
        noise: What that scorer measured that batches and padding do to a reward (a few hundredths of the
            spread in bfloat16); 0 or more.

    Returns:
        ``max(1e-5 * max(|a|, |b|), noise)`` pair by pair; nan where either is.

    Raises:
        ValueError: If ``noise`` is negative or nan.

    Example:
        >>> tie_width(np.array([-2.0, 4.0]), np.array([1.0, np.nan]))
        array([2.e-05,    nan])
    """
    if not noise >= 0:
        raise ValueError(f"`noise` is what a scorer's rewards repeat to and must be 0 or more, got {noise}")
    return np.asarray(np.maximum(REPEATS * np.maximum(np.abs(a), np.abs(b)), noise), dtype=np.float64)


def settled(a: FloatArray, b: FloatArray, *, noise: float = 0.0) -> FloatArray:
    """Differences ``a - b`` of rewards with ties made exactly 0; nan where either is unknown.

    Args:
        a: Rewards, of any shape that broadcasts against ``b``; nan or infinite where unknown.
        b: Rewards by the same scorer.
        noise: As in `tie_width`.

    Example:
        >>> settled(np.array([10.00005, 10.1, np.inf]), np.array([10.0, 10.0, 0.0])).round(3)
        array([0. , 0.1, nan])
    """
    a, b = (np.where(np.isfinite(x), x, np.nan) for x in (np.asarray(a), np.asarray(b)))
    margin = a - b
    return np.where(np.abs(margin) <= tie_width(a, b, noise=noise), 0.0, margin)


def outcome(margin: FloatArray, *, tie: float = 0.0) -> FloatArray:
    """Who won each comparison: 1 the completion, 0 the reference, 0.5 a tie.

    Args:
        margin: ``(n,)`` reward minus the reference's reward; nan or infinite where either is unknown.
        tie: Margins up to this size are ties; 0: only exact equality is.

    Returns:
        ``(n,)`` in {0, 0.5, 1}, nan where the margin is unknown.

    Raises:
        ValueError: If ``tie`` is negative.

    Example:
        >>> outcome(np.array([2.0, -0.1, 0.0, np.nan]))
        array([1. , 0. , 0.5, nan])
        >>> outcome(np.array([2.0, -0.1]), tie=0.5)
        array([1. , 0.5])
    """
    if not tie >= 0:
        raise ValueError(f"`tie` is the largest margin that counts as a tie and must be 0 or more, got {tie}")
    margin = np.asarray(margin, dtype=np.float64)
    won = np.where(np.abs(margin) <= tie, 0.5, (margin > 0).astype(np.float64))
    return np.where(np.isfinite(margin), won, np.nan)


def win_probability(margin: FloatArray, *, temperature: float = 1.0) -> FloatArray:
    """Probability that each completion is preferred: the Bradley-Terry sigmoid of its margin.

    A pointwise reward model trained on ``log sigmoid(r_chosen - r_rejected)`` puts margins on this logit
    scale at temperature 1 (arXiv 2410.11677 uses it as its primary metric).

    Args:
        margin: ``(n,)`` reward minus the reference's reward; nan or infinite where either is unknown.
        temperature: Divides the margin; greater than 0.

    Returns:
        ``(n,)`` in [0, 1], nan where the margin is unknown. ``win_probability(-m) == 1 -
        win_probability(m)``.

    Raises:
        ValueError: If ``temperature`` is not positive.

    Example:
        >>> win_probability(np.array([0.0, np.log(3.0), np.nan]))
        array([0.5 , 0.75,  nan])
    """
    check_temperature(temperature)
    margin = np.asarray(margin, dtype=np.float64)
    return np.where(np.isfinite(margin), expit(margin / temperature), np.nan)


def check_temperature(temperature: float) -> None:
    """Refuse a temperature that cannot divide a margin."""
    if not (np.isfinite(temperature) and temperature > 0):
        raise ValueError(f"`temperature` divides a margin and must be more than 0, got {temperature}")
