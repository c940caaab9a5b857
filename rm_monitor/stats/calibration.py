"""Are a reward model's stated probabilities true? One temperature, fitted on labelled pairs.

``sigmoid(margin / T)`` is what a reward model says of a pair. Reward models are often sure and wrong; the
one number that can be mended without touching their ranking is T. There is no bias term: P(a beats b) and
P(b beats a) must add up to one (Guo et al. 2017, arXiv 1706.04599, for one parameter and pairs).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from rm_monitor.stats.outcomes import check_temperature
from rm_monitor.types import Estimate, FloatArray

__all__ = ["Calibration", "Reliability", "fit_temperature", "reliability"]

BINS = 10
_CHI2 = 3.841458820694124  # 95 % point of chi-square with one degree of freedom
_FLATTEST, _STEEPEST = 1e-9, 1e9  # of 1 / T, in units of one over the margins' size


@dataclass(frozen=True, slots=True, kw_only=True)
class Reliability:
    """How true stated probabilities are.

    Attributes:
        error: Expected calibration error in [0, 0.5]: how far stated and observed agreement are apart, mean
            over pairs in ten bins of confidence.
        brier: Mean squared error of the probability of what people chose, in [0, 1]; 0.25 says nothing.
        nll: Mean of ``-log p`` of what people chose; log 2 = 0.693 says nothing.
        said: ``(10,)`` mean confidence in each bin; nan in an empty one.
        right: ``(10,)`` share of pairs on which people agree, in each bin.
        counts: ``(10,)`` pairs in each bin.
    """

    error: float
    brier: float
    nll: float
    said: FloatArray
    right: FloatArray
    counts: FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """A fitted temperature.

    Attributes:
        temperature: With its 95 % interval (likelihood ratio) and the pairs behind it. nan if no temperature
            fits: the rewards do not agree with the labels more than they contradict them, or never
            contradict them.
        before: Reliability at the temperature in use so far.
        after: Reliability of pairs that the temperature was not fitted on (two folds); nan if none fits.
    """

    temperature: Estimate
    before: Reliability
    after: Reliability


def fit_temperature(margin: FloatArray, *, stated: float = 1.0) -> Calibration:
    """The temperature at which stated probabilities are likeliest.

    Args:
        margin: ``(n,)`` reward of the answer that people chose minus reward of the other; nan where
            unknown.
        stated: The temperature in use so far, which ``before`` is measured at.

    Raises:
        ValueError: If ``margin`` is not one-dimensional or ``stated`` not positive.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> true = rng.normal(size=4000) * 2  # log-odds that the first of two answers is chosen
        >>> chosen = np.where(rng.random(4000) < expit(true), true, -true)
        >>> found = fit_temperature(3 * chosen)  # a model whose differences are three times too large
        >>> round(found.temperature.value, 1), found.before.error > 0.1, found.after.error < 0.03
        (3.0, True, True)
    """
    margin = np.asarray(margin, dtype=np.float64)
    if margin.ndim != 1:
        raise ValueError(f"`margin` is (n,), one a labelled pair; got shape {margin.shape}")
    check_temperature(stated)
    margin = margin[np.isfinite(margin)]
    value, low, high = _fit(margin)
    parts = np.arange(len(margin)) % 2
    unseen = np.full(len(margin), np.nan)
    for part in (0, 1):
        unseen[parts == part] = _divide(margin[parts == part], _fit(margin[parts != part])[0])
    if not np.isfinite(value):
        unseen[:] = np.nan
    return Calibration(
        temperature=Estimate(value, low, high, len(margin)),
        before=reliability(expit(margin / stated)),
        after=reliability(expit(unseen)),
    )


def reliability(probability: FloatArray) -> Reliability:
    """How true these probabilities are.

    Args:
        probability: ``(n,)`` stated for what people chose, in [0, 1]; nan is left out.

    Example:
        >>> found = reliability(np.array([0.95, 0.95, 0.95, 0.05]))  # sure each time, right three times of 4
        >>> round(found.error, 2), round(found.brier, 2)
        (0.2, 0.23)
    """
    p = np.asarray(probability, dtype=np.float64)
    p = p[np.isfinite(p)]
    confidence = np.maximum(p, 1 - p)
    right = np.where(p == 0.5, 0.5, p > 0.5)
    bins = np.minimum((2 * confidence - 1) * BINS, BINS - 1).astype(int)
    counts = np.bincount(bins, minlength=BINS).astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        said = np.bincount(bins, confidence, BINS) / counts
        agreed = np.bincount(bins, right, BINS) / counts
        error = np.nansum(counts * np.abs(said - agreed)) / counts.sum()
        nll = -np.log(np.clip(p, 1e-300, 1)).mean() if p.size else np.nan
    return Reliability(
        error=float(error),
        brier=float(((1 - p) ** 2).mean()) if p.size else float("nan"),
        nll=float(nll),
        said=said,
        right=agreed,
        counts=counts,
    )


def _fit(margin: FloatArray) -> tuple[float, float, float]:
    """Temperature and its interval; nan where the likelihood has no top inside."""
    nothing = (float("nan"),) * 3
    if margin.size == 0 or margin.mean() <= 0 or margin.min() >= 0:
        return nothing  # best at infinite temperature, or at none
    size = float(np.abs(margin).max())
    m = margin / size

    def loss(b: float) -> float:
        return float(np.logaddexp(0, -b * m).sum())

    def slope(b: float) -> float:
        return float((m * expit(-b * m)).sum())  # of the log-likelihood: falls in b, and 0 at its top

    top = _zero(lambda b: -slope(b), _FLATTEST, _STEEPEST)

    def beyond(b: float) -> float:
        return 2 * (loss(b) - loss(top)) - _CHI2

    steep = _zero(beyond, top, _STEEPEST) if beyond(_STEEPEST) > 0 else np.inf
    flat = _zero(lambda b: -beyond(b), _FLATTEST, top) if beyond(0.0) > 0 else 0.0
    return size / top, size / steep, size / flat if flat > 0 else float("inf")


def _zero(rising: Callable[[float], float], low: float, high: float) -> float:
    """Where a function that is negative at ``low`` and positive at ``high``, both above 0, is 0."""
    for _ in range(100):
        middle = float(np.sqrt(low * high))
        low, high = (low, middle) if rising(middle) > 0 else (middle, high)
    return low


def _divide(margin: FloatArray, temperature: float) -> FloatArray:
    return margin / temperature if np.isfinite(temperature) else np.full(len(margin), np.nan)
