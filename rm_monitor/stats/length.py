"""How much of a win is length? Experimental.

Reward models like long answers. Here one slope, for the whole run, says how much a prompt's margin moves
with the length of its answer, with prompts and checkpoints each allowed a level of their own; the margins
are then read at the reference's length. The slope is shrunk: unshrunk ones were off by 23 to 28 points on
published models. Length may also be a true merit, so this is a second opinion, never an alarm.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from rm_monitor.stats.intervals import independent, share_with_error, standard_error
from rm_monitor.stats.outcomes import check_temperature
from rm_monitor.stats.paired import groups
from rm_monitor.types import BoolArray, Estimate, FloatArray

__all__ = ["LengthControl", "length_controlled"]

_NOTICEABLE = 0.02
_RIDGE = 0.1  # of squared length a prompt; 1 took back only half of what length had explained in simulation


@dataclass(frozen=True, slots=True, kw_only=True)
class LengthControl:
    """A run's win probability at the references' lengths.

    Attributes:
        probability: ``(t, n)`` win probabilities at equal length, nan where unknown.
        win_prob: One estimate an evaluation: the mean of a row of ``probability``; its interval counts that
            the slope is an estimate too.
        slope: Margin gained by an answer that is much longer than the reference's, in units of
            ``temperature``, with its 95 % interval over resampled prompts; 0 before the third evaluation.
        explained: Points of the gain in win probability since the first evaluation that length explains, as
            a share, with its 95 % interval; nan with one evaluation.
        notable: Length explains something: ``explained`` is beyond 2 standard errors and 2 points.
    """

    probability: FloatArray
    win_prob: tuple[Estimate, ...]
    slope: Estimate
    explained: Estimate
    notable: bool


def length_controlled(
    margin: FloatArray,
    length: FloatArray,
    reference_length: FloatArray,
    *,
    temperature: float = 1.0,
    resamples: int = 200,
    seed: int = 0,
    clusters: NDArray[Any] | None = None,
) -> LengthControl:
    """Win probability had the answers been as long as their references.

    ``p_ti = sigmoid(m_ti - b x_ti)`` with ``x_ti = tanh((length_ti - reference_i) / S)``, ``S`` the spread
    of the differences at the first evaluation (frozen there), and ``b`` the ridge slope of ``m`` on ``x``
    within prompts and evaluations.

    Args:
        margin: ``(t, n)`` reward minus the reference's; nan where unknown.
        length: ``(t, n)`` lengths of the answers, in tokens or characters; nan where unknown.
        reference_length: ``(n,)`` lengths of the references, in the same unit.
        temperature: Divides the margin.
        resamples: Bootstrap replicates behind the intervals of slope and explained gain.
        seed: Of the resamples.
        clusters: ``(n,)`` labels of prompts that belong together.

    Raises:
        ValueError: If shapes differ or ``temperature`` is not positive.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> length = 100 + 20 * np.arange(6)[:, None] + 100 * rng.normal(size=(6, 300))  # longer and longer
        >>> margin = 0.01 * (length - 100) + rng.normal(size=(6, 300))  # and the judge likes nothing else
        >>> control = length_controlled(margin, length, np.full(300, 100.0))
        >>> control.notable, round(control.explained.value, 2)
        (True, 0.15)
    """
    check_temperature(temperature)
    margin = np.asarray(margin, dtype=np.float64) / temperature
    length, reference_length = (
        np.asarray(length, dtype=np.float64),
        np.asarray(reference_length, dtype=np.float64),
    )
    if margin.ndim != 2 or length.shape != margin.shape or reference_length.shape != margin.shape[1:]:
        raise ValueError(
            "`margin` and `length` are (t, n) and `reference_length` is (n,), "
            f"got shapes {margin.shape}, {length.shape} and {reference_length.shape}"
        )
    x = _longer(length - reference_length)
    known = np.isfinite(margin) & np.isfinite(x)
    m, x = np.where(known, margin, np.nan), np.where(known, x, np.nan)

    n = m.shape[1]
    group = groups(clusters, n)
    together, alone = _sums(m, x)
    ridge = _RIDGE * max(n, 1)
    slope = float(together.sum() / (alone.sum() + ridge))
    times = _resampled(n, group, resamples, seed)
    slopes = times @ together / (times @ alone + ridge)
    gains = np.array([_explained(m, x, b, weight) for b, weight in zip(slopes, times, strict=True)])
    explained = _with_interval(_explained(m, x, slope, np.ones(n)), gains, n)
    error = (explained.high - explained.low) / (2 * 1.96)
    probability = expit(m - slope * x)
    pull = (together - slope * (alone + _RIDGE)) / (alone.sum() + ridge)  # of each prompt on the slope
    return LengthControl(
        probability=probability,
        win_prob=tuple(_point(p, row, pull, group) for p, row in zip(probability, x, strict=True)),
        slope=_with_interval(slope, slopes, n),
        explained=explained,
        notable=bool(abs(explained.value) > max(2.0 * error, _NOTICEABLE)),
    )


def _point(p: FloatArray, x: FloatArray, pull: FloatArray, group: NDArray[np.int64] | None) -> Estimate:
    """Mean of one row; a prompt moves it directly, and through the slope (delta method)."""
    known = np.isfinite(p)
    n = int(known.sum())
    if n == 0:
        return Estimate(np.nan, np.nan, np.nan, 0)
    value = float(p[known].mean())
    through = -float((p * (1.0 - p) * x)[known].mean())
    moves = p[known] - value + n * through * pull[known]
    labels = None if group is None else group[known]
    se, units = standard_error(moves, labels)
    return share_with_error(value, se, units=units, size=independent(moves, labels), n=n)


def _resampled(n: int, group: NDArray[np.int64] | None, resamples: int, seed: int) -> NDArray[np.int64]:
    """``(resamples, n)`` how often each prompt is drawn, with all of its cluster."""
    units = n if group is None else int(group.max(initial=-1)) + 1
    times = np.random.default_rng(seed).multinomial(units, np.full(units, 1.0 / max(units, 1)), resamples)
    return times if group is None else times[:, group]


def _longer(difference: FloatArray) -> FloatArray:
    """How much longer than the reference, in (-1, 1); the unit is the spread at the first evaluation."""
    first = difference[0][np.isfinite(difference[0])] if len(difference) else np.empty(0)
    spread = float(first.std()) if first.size else 0.0
    return np.tanh(difference / spread) if spread > 0 else np.where(np.isnan(difference), np.nan, 0.0)


def _sums(m: FloatArray, x: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Each prompt's part of the slope: of products and of squares, ``(n,)`` each; 0 before the third row.

    The ridge adds a little a prompt to the squares, so that lengths that hardly vary give a slope near 0.
    """
    if len(m) < 3:
        return np.zeros(m.shape[1]), np.zeros(m.shape[1])
    m, x = _within(m), _within(x)
    return np.nansum(m * x, axis=0), np.nansum(x * x, axis=0)


def _within(table: FloatArray) -> FloatArray:
    """What is left of a table when its rows and columns have been given their own means."""
    known = np.isfinite(table)
    cells = np.where(known, table, 0.0)
    for _ in range(3):  # exact at once without missing cells, and close enough with a few
        cells = cells - np.where(known, _mean(cells, known, 1), 0.0)
        cells = cells - np.where(known, _mean(cells, known, 0), 0.0)
    return np.where(known, cells, np.nan)


def _mean(cells: FloatArray, known: BoolArray, axis: int) -> FloatArray:
    mean: FloatArray = cells.sum(axis=axis, keepdims=True) / np.maximum(
        known.sum(axis=axis, keepdims=True), 1
    )
    return mean


def _explained(m: FloatArray, x: FloatArray, slope: float, weight: FloatArray) -> float:
    """Gain in win probability from the first to the last evaluation, minus the same at equal length."""
    both = np.isfinite(m[0]) & np.isfinite(m[-1]) if len(m) > 1 else np.zeros(m.shape[1], dtype=bool)
    total = float(weight[both].sum())
    if total == 0:
        return np.nan
    by_length = [expit(m[t, both]) - expit(m[t, both] - slope * x[t, both]) for t in (0, -1)]
    return float((by_length[1] - by_length[0]) @ weight[both]) / total


def _with_interval(value: float, replicates: FloatArray, n: int) -> Estimate:
    known = replicates[np.isfinite(replicates)]
    if not known.size:
        return Estimate(value, np.nan, np.nan, n)
    half = 1.96 * float(known.std())
    return Estimate(value, value - half, value + half, n)
