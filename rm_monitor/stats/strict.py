"""The alarm by betting: a false-alarm bound that is a theorem at every number of prompts.

Against each earlier window a gambler bets, prompt by prompt, that the run's present answers lose to it. In
a healthy run (prompts drawn independently, no window beaten on average) the gambler's wealth is a
supermartingale, and so is the average over several gamblers; by Ville's inequality it ever reaches ``1 /
alpha`` with probability at most ``alpha`` (Waudby-Smith and Ramdas, arXiv 2010.09686). It needs no large
samples and costs power.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logsumexp

from rm_monitor.stats.look import MIN_COVERAGE, MIN_UNITS, Contrasts, Look, contrasts
from rm_monitor.stats.outcomes import settled
from rm_monitor.stats.paired import groups
from rm_monitor.stats.spending import spent_by
from rm_monitor.types import FloatArray

__all__ = ["strict_looks"]

_STAKES = np.array([0.1, 0.3, 0.6, 0.95])  # eight, or four less bold ones, saw no more falls
_BISECTIONS = 12
_NOISE = 1e-9


def strict_looks(
    scores: FloatArray,
    *,
    pool: bool,
    temperature: float,
    horizon: int | None,
    alpha: float,
    windows: Sequence[int],
    min_drop: float,
    tolerance: float,
    clusters: NDArray[Any] | None,
) -> list[Look]:
    """`degradation` with ``strict=True``; prompts are bet on in the order of their columns.

    That order must not depend on the scores. A look's ``low`` bounds the largest fall from any earlier
    window and is given
    for alarms only; there is no critical value, and ``visible`` is unknown.
    """
    group = groups(clusters, scores.shape[1])
    counts = np.isfinite(scores).sum(axis=1)
    kept: list[int] = []
    looks = []
    for index, n in enumerate(counts.tolist()):
        spent = spent_by(index, alpha=alpha, horizon=horizon)
        look = Look(n=n, spent=spent)
        if n > 0 and n >= MIN_COVERAGE * counts[: index + 1].max():
            kept.append(index)
            family = contrasts(len(kept), windows)
            falls = _falls(scores[kept], family, temperature if pool else None)
            differing = np.abs(np.nan_to_num(falls)) > _NOISE
            if (differing.sum(axis=1) >= MIN_UNITS).any():
                share = spent - spent_by(index - 1, alpha=alpha, horizon=horizon)
                gamblers = _Gamblers(falls, half_range=0.5 if pool else 1.0, group=group)
                look = _look(
                    look,
                    gamblers,
                    family,
                    kept,
                    alpha=alpha,
                    share=share,
                    tolerance=tolerance,
                    floor=min_drop,
                )
        looks.append(look)
    return looks


def _look(
    blank: Look,
    gamblers: _Gamblers,
    family: Contrasts,
    kept: Sequence[int],
    *,
    alpha: float,
    share: float,
    tolerance: float,
    floor: float,
) -> Look:
    wealth = gamblers.log_wealth(tolerance)
    total = _peak(wealth)
    top = int(np.argmax(logsumexp(wealth, axis=1).max(axis=1)))
    drop = float(np.nanmean(gamblers.falls[top]))
    end, width = int(family.past[top]), int(family.width[top])
    bar = -math.log(share)
    return replace(
        blank,
        flagged=total >= bar and drop >= floor,
        low=gamblers.refuted(tolerance, bar) if total >= bar else math.nan,
        drop=drop,
        against=tuple(kept[end - width + 1 : end + 1]),
        now=tuple(kept[len(kept) - width :]),
        p=min(1.0, alpha / share * math.exp(-total)),
    )


@dataclass(frozen=True, slots=True)
class _Gamblers:
    """Those who bet on falls beyond a given size, one for each contrast and stake.

    Attributes:
        falls: ``(k, n)`` what each prompt's answers fell by; nan is no bet.
        half_range: Largest possible fall.
        group: ``(n,)`` clusters; the prompts of one bet together.
    """

    falls: FloatArray
    half_range: float
    group: NDArray[np.int64] | None

    def log_wealth(self, fall: float) -> FloatArray:
        """``(k, stakes, units)`` running log wealth against "no fall beyond ``fall``"."""
        bet = np.nan_to_num((self.falls - fall) / (self.half_range + fall))
        if self.group is not None:  # their sum over the size of the largest cluster stays in the range
            together = np.zeros((len(bet), int(self.group.max()) + 1))
            np.add.at(together.T, self.group, bet.T)
            bet = together / np.bincount(self.group).max()
        return np.cumsum(np.log1p(_STAKES[:, None] * bet[:, None, :]), axis=2)

    def refuted(self, sure: float, bar: float) -> float:
        """Largest fall beyond ``sure`` that their wealth still refutes."""
        low, high = sure, self.half_range
        for _ in range(_BISECTIONS):
            middle = (low + high) / 2.0
            if _peak(self.log_wealth(middle)) >= bar:
                low = middle
            else:
                high = middle
        return low


def _peak(wealth: FloatArray) -> float:
    """Largest log wealth that all gamblers together, with equal shares, ever had."""
    return float(logsumexp(wealth, axis=(0, 1)).max() - math.log(wealth.shape[0] * wealth.shape[1]))


def _falls(scores: FloatArray, family: Contrasts, temperature: float | None) -> FloatArray:
    """``(k, n)`` how much each prompt's answers fell.

    For outcomes (temperature None) the difference of window means; for rewards the probability that an
    earlier answer beats a present one, minus one half.
    """
    t, n = scores.shape
    falls = np.empty((len(family.past), n))
    widest = int(family.width.max(initial=0))
    beaten = np.empty((t, t, n))
    for now in range(t - widest, t):
        margin = settled(scores, scores[now])
        beaten[now] = margin if temperature is None else expit(margin / temperature) - 0.5
    for k, (end, width) in enumerate(zip(family.past.tolist(), family.width.tolist(), strict=True)):
        pairs = beaten[t - width :, end - width + 1 : end + 1].reshape(-1, n)
        known = np.isfinite(pairs)
        met = known.sum(axis=0)
        falls[k] = np.where(met > 0, np.where(known, pairs, 0.0).sum(axis=0) / np.maximum(met, 1), np.nan)
    return falls
