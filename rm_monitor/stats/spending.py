"""How much false alarm each look may spend, so that a whole run spends ``alpha``."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rm_monitor.types import FloatArray

__all__ = ["FIRST_EPOCH", "Bar", "Budget", "spent_by"]

FIRST_EPOCH = 19  # looks
_SHORTEST = 4  # looks; before, a run has shown nothing of its ups and downs
_EVENLY = 0.1  # of the budget: a collapse at the first looks is called, too
_LAST = 16  # replicates from which the tail is fitted
_LEAST = 1e-6  # of the replicates may alarm at any look: a run is never deaf, however little budget is left
_FAR, _ROUNDS, _POINTS = 64.0, 3, 51


def spent_by(look: int, *, alpha: float, horizon: int | None) -> float:
    """Probability of a false alarm that looks 1 to ``look`` may have used up together.

    With a known horizon a tenth is shared evenly, and the rest grows with the square of the look: later there
    is a peak to fall from, and the run has said how much its checkpoints differ anyway. Without one, epochs
    of 19, 38, 76, ... looks share alpha/2, alpha/4, alpha/8, ... the same way.
    A run of fewer than five evaluations cannot show its ups and downs: one of three spends a fifth of alpha.
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
        length, share = max(horizon - 1, _SHORTEST), alpha
    total = 0.0
    while look > length:
        total += share
        look -= length
        share /= 2.0
        length *= 2
    squares = look * (look + 1) * (2 * look + 1) / (length * (length + 1) * (2 * length + 1))
    return total + share * (_EVENLY * look / length + (1.0 - _EVENLY) * squares)


class Budget:
    """The healthy runs that have not alarmed yet, and what they may still spend.

    There is one set of replicates for each size of jitter. At each look just so many of a set are let alarm
    that the share of it that ever did is the budget spent.
    """

    def __init__(self, sizes: int, replicates: int, alpha: float) -> None:
        self._alive = np.ones((sizes, replicates), dtype=bool)
        self._alpha = alpha

    def bar(self, largest: NDArray[np.float32], spent: float) -> Bar:
        """What this look may call a fall; spends up to ``spent``.

        Args:
            largest: ``(sizes, replicates)`` largest contrast of each replicate at this look.
            spent: Budget used up by the end of this look.
        """
        replicates = self._alive.shape[1]
        tops, rooms = [], np.empty(len(self._alive))
        for i, (alive, values) in enumerate(zip(self._alive, largest, strict=True)):
            top = np.sort(values[alive])
            tops.append(top)
            room = spent * replicates - (replicates - top.size)
            rooms[i] = max(room / replicates, _LEAST)
            now = int(room + 1e-9)
            if now > 0:
                at_least = np.flatnonzero(alive & (values >= top[-now]))
                order = np.argsort(-values[at_least], kind="stable")  # of equal ones the first go first
                alive[at_least[order[:now]]] = False
        return Bar(tops, rooms, replicates, self._alpha)


class Bar:
    """What chance shows at one look.

    Args:
        tops: For each size of jitter the largest contrasts of the replicates left, rising.
        rooms: ``(sizes,)`` share of each set that may alarm at this look.
        replicates: In each set.
        alpha: False-alarm rate of the run.
    """

    def __init__(
        self, tops: list[NDArray[np.float32]], rooms: FloatArray, replicates: int, alpha: float
    ) -> None:
        self.rooms = rooms
        self._tops = tops
        self._replicates = replicates
        self._alpha = alpha
        tails = np.array([_tail(top) for top in tops])
        self._last, self._scale, self._few = tails.T

    def chance(self, seen: float | FloatArray) -> FloatArray:
        """``(sizes, ...)`` share of replicates that show as large a contrast.

        Beyond the last few of them an exponential tail, fitted to those few, goes on: what is larger than all
        replicates is not certain, and the further beyond, the rarer. The tail of a normal maximum falls
        faster, so this errs towards silence.
        """
        at = np.asarray(seen, dtype=np.float64)
        found = np.empty((len(self._tops), *at.shape))
        # searched as single precision, rounded up: what is looked through would be copied otherwise
        near = at.astype(np.float32)
        near = np.where(near < at, np.nextafter(near, np.float32(np.inf)), near)
        for i, top in enumerate(self._tops):
            found[i] = top.size - np.searchsorted(top, near, side="left")
        beyond = at > self._last.reshape(-1, *(1 for _ in at.shape))
        if beyond.any():
            for i in range(len(self._tops)):
                far = beyond[i]
                if far.any():
                    past = (at[far] - self._last[i]) / self._scale[i] if self._scale[i] > 0 else np.inf
                    found[i, far] = self._few[i] * np.exp(-past)
        return found / self._replicates

    def p(self, seen: FloatArray, weights: Sequence[FloatArray]) -> list[float]:
        """Smallest ``alpha`` at which this look would alarm by each of some falls.

        Args:
            seen: ``(k,)`` studentised falls.
            weights: ``(k, sizes)`` over which the chance of each is averaged.
        """
        chance = self.chance(seen)
        return [
            min(1.0, self._alpha * float(w @ c) / float(w @ self.rooms))
            for w, c in zip(weights, chance.T, strict=True)
        ]

    def critical(self, weight: FloatArray, share: float | None = None) -> float:
        """The contrast at which ``p`` is ``alpha``; with ``share``, that so many healthy runs exceed now."""
        room = float(weight @ self.rooms) if share is None else share
        low, high = -_FAR, _FAR
        for _ in range(_ROUNDS):
            grid = np.linspace(low, high, _POINTS)
            beyond = weight @ self.chance(grid) > room  # falling: True, ..., True, False, ...
            last = int(np.count_nonzero(beyond))
            low, high = float(grid[max(last - 1, 0)]), float(grid[min(last, _POINTS - 1)])
        return high


def _tail(top: NDArray[np.float32]) -> tuple[float, float, int]:
    """Where the fitted tail begins, its scale (the mean excess beyond), and of how many it is."""
    if top.size == 0:
        return math.inf, 0.0, 0
    few = top[-_LAST:]
    first = float(few[0])
    return first, float(np.add.reduce(few, dtype=np.float64)) / few.size - first, few.size
