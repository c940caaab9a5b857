"""A warning settled on fresh prompts: sharper than the alarm alone, at the same false-alarm rate.

The alarm keeps 2/5 of its budget. The rest is for warnings: at the first two, an earlier checkpoint and the
present one answer prompts that the run was never judged on, and the fall is confirmed if a t-test on those
alone passes at a level that the warning's size sets, so that over healthy runs the levels add up to the rest
of the budget (the conditional error principle: Proschan and Hunsberger, Biometrics 51, 1995; Mueller and
Schaefer, Statistics in Medicine 23, 2004). Whatever the prompts of the run suggested by chance, fresh ones do
not repeat, so their estimate of the fall is not exaggerated as that of an alarm is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, ndtr, ndtri, stdtr, stdtrit

from rm_monitor.stats.intervals import mean
from rm_monitor.stats.look import MIN_UNITS
from rm_monitor.stats.outcomes import check_temperature, settled
from rm_monitor.types import Estimate, FloatArray

__all__ = ["DIRECT", "FreshBudget", "Retest", "retest"]

DIRECT = 0.4  # of the false-alarm budget; without a direct part a clear fall waits for prompts already used
ASKS = 2  # warnings of a run that are settled; three or four were no better in simulation
_EVEN = 0.5  # no confirmation where fresh prompts say the opposite
_BISECTIONS = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Retest:
    """What fresh prompts say about a warning.

    Attributes:
        confirmed: The fall is there as well, at `level`.
        drop: By how much an earlier answer's chance to beat a present one exceeds one half (for outcomes: the
            fall), with its ordinary 95 % interval; more than 0 when later is worse.
        p: One-sided, of the fresh prompts alone.
        level: What ``p`` had to reach.
    """

    confirmed: bool
    drop: Estimate
    p: float
    level: float


def retest(
    before: FloatArray,
    now: FloatArray,
    *,
    level: float,
    pool: bool = True,
    temperature: float = 1.0,
    tolerance: float = 0.0,
    clusters: NDArray[Any] | None = None,
) -> Retest:
    """Settle a warning on prompts that no choice was made on.

    Args:
        before: ``(m,)`` rewards (``pool=False``: outcomes) of an earlier checkpoint, such as the best on
            disk, chosen before these prompts were answered; nan where unscored.
        now: ``(m,)`` the same of the checkpoint that raised the warning.
        level: The warning's `Look.fresh_level`.
        pool: The arguments are raw rewards, compared by the sigmoid of their difference.
        temperature: Divides that difference.
        tolerance: A fall up to this is healthy.
        clusters: ``(m,)`` labels of prompts that belong together.

    Returns:
        Not confirmed, with p = 1, when fewer than 10 prompts differ: nothing can be said.

    Raises:
        ValueError: If shapes differ or ``level`` is outside (0, 0.5].

    Example:
        >>> rng = np.random.default_rng(0)
        >>> result = retest(rng.normal(0.5, 1.0, 200), rng.normal(0.0, 1.0, 200), level=0.1)
        >>> result.confirmed, round(result.drop.value, 2), result.drop.n
        (True, 0.11, 200)
    """
    if not 0 < level <= _EVEN:
        raise ValueError(f"`level` is what the warning left for a test, in (0, 0.5], got {level}")
    check_temperature(temperature)
    before, now = np.asarray(before, dtype=np.float64), np.asarray(now, dtype=np.float64)
    if before.shape != now.shape or before.ndim != 1:
        raise ValueError(
            "`before` and `now` hold the same prompts in the same order, "
            f"got shapes {before.shape} and {now.shape}"
        )
    margin = settled(before, now)
    fall = expit(margin / temperature) - 0.5 if pool else margin
    fall = np.where(np.isfinite(margin), fall, np.nan)
    drop = mean(fall, clusters=clusters)
    known = np.isfinite(fall)
    differing = known & (fall != 0)
    labels = np.arange(fall.size) if clusters is None else np.asarray(clusters)
    if np.unique(labels[differing]).size < MIN_UNITS:
        return Retest(confirmed=False, drop=drop, p=1.0, level=level)
    p = _p(drop, tolerance, np.unique(labels[known]).size)
    return Retest(confirmed=p <= level, drop=drop, p=p, level=level)


def _p(drop: Estimate, tolerance: float, units: int) -> float:
    """One-sided, from the interval's own standard error."""
    se = (drop.high - drop.low) / (2.0 * float(stdtrit(units - 1, 0.975)))
    beyond = drop.value - tolerance
    if not se > 0:  # all prompts moved alike: the chance that so many fair signs agree
        return 2.0**-units if beyond > 0 else 1.0
    return float(stdtr(units - 1, -beyond / se))


class FreshBudget:
    """What warnings may still spend on fresh prompts, and who has been asked.

    A replicate is a healthy run, as in `Budget`. It is asked at its first two warnings, like the run itself;
    the levels at which all of them would confirm add up, over replicates, to the budget spent. Fresh prompts
    do not repeat what prompts suggested by chance, but they do see the jitter of the two checkpoints: how
    often a replicate's own pair would confirm is reckoned with its own jitter.
    """

    def __init__(self, sizes: int, replicates: int, *, asks: int = ASKS) -> None:
        self._asked = np.zeros((sizes, replicates), dtype=np.int64)
        self._own = 0
        self._most = asks
        self._spent = np.zeros(sizes)

    def level(
        self,
        largest: NDArray[np.float32],
        seen: float,
        screen: float,
        spent: float,
        *,
        weight: FloatArray,
        ahead: NDArray[np.float32] | None = None,
    ) -> float:
        """The level at which fresh prompts may confirm this look; nan: there is nothing to ask.

        Args:
            largest: ``(sizes, replicates)`` largest contrast of each replicate at this look.
            seen: Largest contrast of the run itself.
            screen: Critical value of a warning at this look.
            spent: Budget used up by the end of this look.
            weight: ``(sizes,)`` probability of each size of jitter.
            ahead: ``(sizes, replicates)`` by how many standard errors of the fresh comparison the jitter of
                each replicate's best checkpoint is above its present one's; None: there is no jitter.
        """
        asked = (largest >= screen) & (self._asked < self._most)
        self._asked += asked
        tops = [self._evidence(largest, weight, row[here]) for row, here in zip(largest, asked, strict=True)]
        shift = [
            np.zeros(top.size) if ahead is None else ahead[i][asked[i]].astype(np.float64)
            for i, top in enumerate(tops)
        ]
        bar = self._bar(tops, shift, weight, spent)
        if seen < screen or self._own >= self._most or not math.isfinite(bar):
            return math.nan
        self._own += 1
        return float(_levels(self._evidence(largest, weight, np.array([seen], dtype=np.float32)), bar)[0])

    def _evidence(
        self, largest: NDArray[np.float32], weight: FloatArray, seen: NDArray[np.float32]
    ) -> FloatArray:
        """Contrasts as normal quantiles: how rare each is among healthy runs."""
        rare = np.zeros(seen.size)
        for share, row in zip(weight, largest, strict=True):
            beyond = row.size - np.searchsorted(np.sort(row), seen, side="left")
            rare += share * (beyond + 0.5) / (row.size + 1.0)
        found: FloatArray = -ndtri(rare)
        return found

    def _bar(
        self, tops: list[FloatArray], shift: list[FloatArray], weight: FloatArray, spent: float
    ) -> float:
        """Where the evidence of run and fresh prompts together must lie; spends up to ``spent``."""
        left = float(weight @ np.maximum(spent - self._spent, 0.0))
        if not any(top.size for top in tops) or left <= 0:
            return math.inf
        replicates = self._asked.shape[1]

        def used(bar: float) -> FloatArray:
            """Share of each set that would confirm."""
            return (
                np.array([_confirming(t, s, bar).sum() for t, s in zip(tops, shift, strict=True)])
                / replicates
            )

        low, high = -10.0, 50.0
        for _ in range(_BISECTIONS):
            middle = (low + high) / 2.0
            low, high = (low, middle) if float(weight @ used(middle)) <= left else (middle, high)
        self._spent += used(high)
        return high


def _levels(evidence: FloatArray, bar: float) -> FloatArray:
    """Probability that as many fresh prompts lift this much evidence over the bar by chance."""
    level: FloatArray = np.minimum(ndtr(evidence - bar * math.sqrt(2.0)), _EVEN)
    return level


def _confirming(evidence: FloatArray, shift: FloatArray, bar: float) -> FloatArray:
    """Probability that a healthy run passes the level its warning sets, with its own jitter."""
    found: FloatArray = ndtr(ndtri(_levels(evidence, bar)) + shift)
    return found
