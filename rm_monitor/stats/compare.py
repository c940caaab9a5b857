"""One prompt, two completions: who won, and how likely was it."""

from __future__ import annotations

import numpy as np
from scipy.special import expit

from rm_monitor.types import FloatArray

__all__ = ["check_temperature", "outcome", "win_probability"]


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
