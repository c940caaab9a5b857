"""How much false alarm each look may spend, so that a whole run spends ``alpha``."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["FIRST_EPOCH", "Budget", "spent_by"]

FIRST_EPOCH = 19  # looks


def spent_by(look: int, *, alpha: float, horizon: int | None) -> float:
    """Probability of a false alarm that looks 1 to ``look`` may have used up together.

    With a known horizon each look's share grows linearly: a fall is worth more once there is a peak to
    fall from. Without one, epochs of 19, 38, 76, ... looks share alpha/2, alpha/4, alpha/8, ... the same way.
    A run that goes on past its horizon goes on in doubling epochs with alpha/2, alpha/4, ... more: it is not
    deaf, and the rate it states grows with it.

    Args:
        look: 1-based; the look after the second evaluation is 1.
        alpha: Budget of the run, in (0, 1).
        horizon: Evaluations the run will have, the first included; None: unknown.

    Example:
        >>> spent_by(19, alpha=0.05, horizon=20), spent_by(19, alpha=0.05, horizon=None)
        (0.05, 0.025)
    """
    if horizon is None:
        length, share = FIRST_EPOCH, alpha / 2.0
    else:
        length, share = max(horizon - 1, 1), alpha
    total = 0.0
    while look > length:
        total += share
        look -= length
        share /= 2.0
        length *= 2
    return total + share * (look * (look + 1) / (length * (length + 1)))


class Budget:
    """The replicates that have not alarmed yet, and what they may still spend.

    A replicate is a healthy run. At each look just so many of them are let alarm that the share of all
    replicates that ever did is the budget spent; the bar that lets through those is the look's critical
    value.
    """

    def __init__(self, replicates: int, alpha: float) -> None:
        self._alive = np.ones(replicates, dtype=bool)
        self._alpha = alpha

    def bar(self, largest: NDArray[np.float32], seen: float, spent: float) -> tuple[float, float]:
        """Spend up to ``spent``.

        Args:
            largest: ``(replicates,)`` largest contrast of each replicate at this look.
            seen: Largest contrast of the run itself.
            spent: Budget used up by the end of this look.

        Returns:
            The critical value (infinite while the budget is below one replicate), and the adjusted p-value:
            the smallest ``alpha`` at which this look would alarm. It is at most ``alpha`` when ``seen`` is
            beyond the critical value, and only then.
        """
        left = spent * self._alive.size - int((~self._alive).sum()) + 1e-9  # replicates that may alarm now
        beyond = 1 + int((self._alive & (largest >= seen)).sum())
        p = min(1.0, self._alpha * beyond / left) if left > 0 else 1.0
        if left < 1:
            return np.inf, p
        critical = float(np.partition(largest[self._alive], -int(left))[-int(left)])
        self._alive &= largest < critical
        return critical, p
