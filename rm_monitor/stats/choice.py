"""Which evaluation is the best of a run, how sure is that, and which others may be it as well."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from rm_monitor.stats.multiplier import resampled, signs
from rm_monitor.stats.paired import Effects, effects, groups
from rm_monitor.stats.pool import pool_scores
from rm_monitor.types import BoolArray, FloatArray

__all__ = ["BestChoice", "best", "choose", "highest"]

_REPLICATES = 2_000
_LEVEL = 0.95
_PART = 100
_EQUAL = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class BestChoice:
    """The best of some evaluations.

    Attributes:
        index: Its row.
        p_best: Probability that it is the best of the eligible ones, in [0, 1], by resampling prompts.
        tied: Rows that may be the best as well, its own left out: together with ``index`` they hold the
            truly best row in 95 % of runs.
        optimism: How much too high the best one's score reads because it was chosen as the highest,
            estimated, in points of the pool score as a share.
        pool: ``(t,)`` what was compared: mean pool score of each row; nan for a row without scores.
    """

    index: int
    p_best: float
    tied: tuple[int, ...]
    optimism: float
    pool: FloatArray


def best(
    scores: FloatArray,
    *,
    eligible: BoolArray | None = None,
    ties: FloatArray | None = None,
    pool: bool = True,
    temperature: float = 1.0,
    seed: int = 0,
    clusters: NDArray[Any] | None = None,
) -> BestChoice:
    """The row with the highest mean pool score.

    No smoothing: real checkpoints jitter, and every smoother tried lost twice as much there as it won on a
    smooth truth (``docs/design/``).

    Args:
        scores: ``(t, n)`` raw rewards (``pool=False``: outcomes), nan where unscored. All rows take part in
            the pool.
        eligible: ``(t,)`` rows that may be chosen, such as those still on disk; None: all.
        ties: ``(t,)`` breaks exact ties, highest first, such as the headline metric; then the earliest row
            wins.
        pool: Compare by pool score.
        temperature: Of the pool score.
        seed: Of the resamples.
        clusters: ``(n,)`` labels of prompts that belong together.

    Raises:
        ValueError: If no row is eligible and scored, or shapes differ.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> scores = np.array([[0.0], [2.0], [1.0]]) + rng.normal(size=(3, 200))
        >>> choice = best(scores)
        >>> choice.index, choice.p_best, choice.tied
        (1, 1.0, ())
    """
    scores = np.asarray(scores, dtype=np.float64)
    if scores.ndim != 2:
        raise ValueError(
            f"`scores` has one row an evaluation and one column a prompt, got shape {scores.shape}"
        )
    table = effects(pool_scores(scores, temperature) if pool else scores, groups(clusters, scores.shape[1]))
    return choose(table, eligible=eligible, ties=ties, seed=seed)


def choose(
    table: Effects, *, eligible: BoolArray | None = None, ties: FloatArray | None = None, seed: int = 0
) -> BestChoice:
    """`best` for scores that were taken apart before (`Detector.table`)."""
    allowed = _mask(eligible, len(table.value)) & np.isfinite(table.value)
    if not allowed.any():
        raise ValueError(
            f"`eligible` must leave a row with scores to choose from, got none of {len(table.value)}"
        )
    rows = np.flatnonzero(allowed)
    index = highest(table.value, rows, ties)
    noise = _noise(table, rows, seed)
    replicate = table.value[rows, None].astype(np.float32) + noise
    won = replicate.argmax(axis=0)
    chosen = int(np.flatnonzero(rows == index)[0])
    beaten = replicate.max(axis=0) > replicate[chosen]
    return BestChoice(
        index=index,
        p_best=float(1.0 - beaten.mean()),
        tied=tuple(int(r) for r in rows[_may_be_best(table, rows, noise)] if r != index),
        optimism=float(noise[won, np.arange(noise.shape[1])].mean()),
        pool=table.value,
    )


def _mask(eligible: BoolArray | None, t: int) -> BoolArray:
    if eligible is None:
        return np.ones(t, dtype=np.bool_)
    eligible = np.asarray(eligible, dtype=np.bool_)
    if eligible.shape != (t,):
        raise ValueError(f"`eligible` has one entry a row, shape ({t},); got shape {eligible.shape}")
    return eligible


def highest(value: FloatArray, rows: NDArray[np.intp], ties: FloatArray | None) -> int:
    """The one of these rows with the highest value; exact ties go to ``ties``, then to the earliest."""
    equal = rows[value[rows] >= value[rows].max() - _EQUAL]
    if ties is None or len(equal) == 1:
        return int(equal[0])
    headline = np.asarray(ties, dtype=np.float64)
    if headline.shape != value.shape:
        raise ValueError(f"`ties` has one entry a row, shape {value.shape}; got shape {headline.shape}")
    return int(equal[np.argmax(np.nan_to_num(headline[equal], nan=-np.inf))])


def _noise(table: Effects, rows: NDArray[np.intp], seed: int) -> NDArray[np.float32]:
    """``(rows, replicates)``: what resampled prompts add to each row's mean."""
    sign = signs(seed, table.influence.shape[1], _REPLICATES)
    return resampled(table.influence[rows] / max(table.n, 1), sign)


def _may_be_best(table: Effects, rows: NDArray[np.intp], noise: NDArray[np.float32]) -> BoolArray:
    """Rows that no other row is above by more than chance.

    Each row is tested against all others at once (max-T), so the truly best one is left out in 5 % of runs.
    """
    value, influence = table.value[rows], table.influence[rows] / max(table.n, 1)
    highest_noise, lowest_noise = noise.max(axis=1), noise.min(axis=1)
    parts = [np.ascontiguousarray(noise[:, i : i + _PART]) for i in range(0, noise.shape[1], _PART)]
    reach = 1.001 * np.sqrt(influence.shape[1])  # no signs make more of a contrast (Cauchy-Schwarz); rounding
    keep = np.ones(len(rows), dtype=np.bool_)
    for s, se in enumerate(cdist(influence, influence)):
        others = np.flatnonzero(se > _EQUAL)
        if not others.size:
            continue
        seen = ((value[others] - value[s]) / se[others]).max()
        if seen > reach:
            keep[s] = False
            continue
        scale = se[others].astype(np.float32)
        able = (
            highest_noise[others] - lowest_noise[s]
        ) / scale >= seen  # rounding keeps order: none is missed
        keep[s] = _reached(parts, s, others[able], scale[able, None], seen)
    return keep


def _reached(
    parts: Sequence[NDArray[np.float32]],
    own: int,
    others: NDArray[np.intp],
    scale: NDArray[np.float32],
    seen: float,
) -> bool:
    """Whether the largest contrast is ``seen`` or more in over 5 % of the replicates.

    A part of the replicates often decides it, and the rest is not looked at.
    """
    left = size = sum(part.shape[1] for part in parts)
    hits = 0
    for part in parts if others.size else ():
        contrasts = part[others]
        contrasts -= part[own]
        contrasts /= scale
        hits += int((contrasts.max(axis=0) >= seen).sum())
        left -= part.shape[1]
        if hits / size > 1.0 - _LEVEL:
            return True
        if (hits + left) / size <= 1.0 - _LEVEL:
            return False
    return False
