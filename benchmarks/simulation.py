"""Training runs whose truth is known.

A reward is ``scale_i * (level_t + prompt_i + drift_ti + noise_ti)`` minus the reference's: prompts differ
(sd 1.6), a checkpoint differs from its neighbours in its own way on each prompt (AR(1), sd 0.9, phi 0.85), an
answer is a draw (t with 5 degrees of freedom, sd 1.2), and prompts spread rewards differently (lognormal, sd
0.4). Between checkpoints of one run this gives the correlations that real model families have (.65 adjacent,
.52 far apart, of win probability).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

Array = NDArray[np.float64]

PROMPT, DRIFT, NOISE, SCALE, STAYS = 1.6, 0.9, 1.2, 0.4, 0.85
EVALUATIONS = 20
PEAK = 8


def rewards(
    rates: Array,
    n: int,
    rng: np.random.Generator,
    *,
    samples: int = 1,
    phi: float = STAYS,
    outliers: float = 0.0,
) -> Array:
    """``(t, n)`` rewards minus the reference's of a run with these true win rates.

    Args:
        rates: ``(t,)`` true win rate of each checkpoint.
        n: Prompts.
        rng: Where the run comes from.
        samples: Answers a prompt, averaged.
        phi: How much a checkpoint keeps of its predecessor's way with each prompt.
        outliers: Share of rewards replaced by a gross error.
    """
    t = len(rates)
    prompt = PROMPT * rng.normal(size=n)
    scale = np.exp(SCALE * rng.normal(size=n))
    drift = np.empty((t, n))
    step = rng.normal(size=(t, n))
    drift[0] = step[0]
    for s in range(1, t):
        drift[s] = phi * drift[s - 1] + np.sqrt(1 - phi**2) * step[s]
    noise = NOISE / np.sqrt(5 / 3) * rng.standard_t(5, size=(samples, t, n)).mean(axis=0)
    made: Array = scale * (levels(rates)[:, None] + prompt + DRIFT * drift + noise)
    if outliers:
        wild = rng.uniform(size=made.shape) < outliers
        made = np.where(wild, 50.0 * rng.standard_cauchy(made.shape), made)
    return made


@lru_cache(maxsize=1)
def _population() -> Array:
    rng = np.random.default_rng(20_241_017)
    size = 2_000_000
    total = np.hypot(PROMPT, DRIFT) * rng.normal(size=size) + NOISE / np.sqrt(5 / 3) * rng.standard_t(
        5, size=size
    )
    return np.sort(np.concatenate([total, -total]))


def levels(rates: Array) -> Array:
    """The levels at which a run has these win rates."""
    everyone = _population()
    at = (1.0 - np.asarray(rates, dtype=np.float64)) * (everyone.size - 1)  # a quantile of what is sorted
    low = np.floor(at).astype(np.int64)
    below, above = everyone[low], everyone[np.minimum(low + 1, everyone.size - 1)]
    found: Array = -(below + (at - low) * (above - below))
    return found


def win_rates(level: Array) -> Array:
    """The win rates of these levels."""
    everyone = _population()
    return 1.0 - np.searchsorted(everyone, -np.asarray(level)) / everyone.size


def win_probabilities(rates: Array) -> Array:
    """``(t,)`` the true mean win probabilities of checkpoints with these win rates."""
    level, mean = _win_probabilities()
    found: Array = np.interp(levels(rates), level, mean)
    return found


@lru_cache(maxsize=1)
def _win_probabilities() -> tuple[Array, Array]:
    rng = np.random.default_rng(2)
    total = rng.permutation(_population()[::40])
    scale = np.exp(SCALE * rng.normal(size=total.size))
    level = np.linspace(-8.0, 8.0, 161)
    return level, np.array([expit(scale * (x + total)).mean() for x in level])


def flat(rate: float = 0.55, t: int = EVALUATIONS) -> Array:
    """A run that stays where it is: the healthy run that is hardest to tell from a falling one."""
    return np.full(t, rate)


def learning(high: float, peak: int, *, linear: bool = False) -> Array:
    """The way up to the peak: 20 points, fast at first (or evenly), as learning curves are."""
    done = (
        np.arange(peak + 1) / peak
        if linear
        else -np.expm1(-np.arange(peak + 1) / 2.5) / -np.expm1(-peak / 2.5)
    )
    return high - 0.20 + 0.20 * done


def rise(high: float = 0.60, peak: int = PEAK, t: int = EVALUATIONS) -> Array:
    """A run that learns and stays."""
    return np.concatenate([learning(high, peak), np.full(t - peak - 1, high)])


def fall(
    points: float, high: float = 0.60, peak: int = PEAK, t: int = EVALUATIONS, *, linear: bool = False
) -> Array:
    """A run that learns until the peak and then loses so much by the end, evenly."""
    return np.concatenate(
        [learning(high, peak, linear=linear), np.linspace(high, high - points, t - peak)[1:]]
    )


def drop(
    points: float, high: float = 0.60, peak: int = PEAK, t: int = EVALUATIONS, *, linear: bool = False
) -> Array:
    """A run that learns until the peak and then loses so much at once."""
    return np.concatenate([learning(high, peak, linear=linear), np.full(t - peak - 1, high - points)])


def jittered(rates: Array, rng: np.random.Generator, sd: float = 0.015) -> Array:
    """Checkpoints that really differ from one to the next, as real ones do."""
    return np.clip(rates + sd * rng.normal(size=rates.shape), 0.01, 0.99)
