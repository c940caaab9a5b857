"""Before a run: how large a lasting fall will so many prompts and evaluations see?

The answer comes from the alarm itself: residuals like those of real runs are put through it, and its bar at
the last look is read off.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
from scipy.special import ndtri

from rm_monitor.stats.bends import PRIOR
from rm_monitor.stats.healthy import falls, largest
from rm_monitor.stats.paired import effects
from rm_monitor.stats.spending import Budget, spent_by
from rm_monitor.stats.windows import family
from rm_monitor.types import FloatArray

__all__ = ["SPREAD", "Plan", "as_pool_score", "as_win_rate", "plan", "worth_more_prompts"]

SPREAD = 0.31  # sd over prompts of the difference of two checkpoints' pool scores, far apart in one run
_STAYS = 0.85  # how much a checkpoint keeps of its predecessor's way with a prompt
_ANSWER = 0.35  # share of the variance of a difference that is the draw of the answers
_REPLICATES = 2_000
_POOL_PER_POINT = 0.81  # points of pool score that a point of win rate is worth near one half
# Windows fill up only after a fall, and the looks before the last one spend less than it: what the bar of the
# last look shows 8 times in 10 is, times this, seen about as often by the end. On whole simulated prompts (40
# runs a cell; 64, 128, 256, 512 prompts) .98 .83 .75 .75 were; with a jitter of 1 point .95 .83 .88 .73.
_BY_THE_END = 1.06
_ENOUGH = 0.9  # twice the prompts that leave more than this of the visible fall do not pay


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a run of this size will show.

    Attributes:
        prompts: Answered at each evaluation.
        evaluations: Of the run, the first included.
        visible: Smallest lasting fall that is seen 8 times in 10 by the end, as a share of the pool score.
        error: Standard error of the change between two checkpoints, of prompts alone.
        jitter: What checkpoints differ by for no lasting reason.
        false_alarms: Probability that a healthy run raises the alarm once.
    """

    prompts: int
    evaluations: int
    visible: float
    error: float
    jitter: float
    false_alarms: float


@lru_cache(maxsize=256)
def plan(
    prompts: int,
    evaluations: int = 20,
    *,
    spread: float = SPREAD,
    near: float | None = None,
    jitter: float = 0.0,
    false_alarms: float = 0.05,
    power: float = 0.80,
    seed: int = 0,
) -> Plan:
    """What a run will show.

    Args:
        prompts: Independent ones, at least 10.
        evaluations: At least 2.
        spread: Standard deviation over prompts of the paired difference of two checkpoints' pool scores; 0.31
            in runs like those of the benchmarks. Less where answers hardly change.
        near: The same of neighbours; None: two thirds of it. Less where one noise for all checkpoints keeps
            answers as they were.
        jitter: Standard deviation of what checkpoints differ by for no lasting reason, as a share.
        false_alarms: Of a run.
        power: Share of such falls that is to be seen, in (0.5, 1).
        seed: Of the residuals.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> few, many = plan(64, 20), plan(512, 20)
        >>> few.visible > 2 * many.visible > 0.04
        True
    """
    for name, value, least in (("prompts", prompts, 10), ("evaluations", evaluations, 2)):
        if value < least:
            raise ValueError(f"`{name}` must be at least {least} to tell a fall from chance, got {value}")
    if not 0 < spread <= 1:
        raise ValueError(f"`spread` is the standard deviation of a difference, in (0, 1], got {spread}")
    if near is not None and not 0 < near <= 1:
        raise ValueError(f"`near` is the standard deviation of a difference, in (0, 1], got {near}")
    if not 0 <= jitter < 0.5:
        raise ValueError(f"`jitter` is a share in [0, 0.5), such as 0.01 for a point, got {jitter}")
    if not 0.5 < power < 1:
        raise ValueError(f"`power` is a share of falls in (0.5, 1), got {power}")
    table = effects(_residuals(evaluations, prompts, spread, near, seed))
    seen = falls(table, family(evaluations))
    healthy = largest(table, seen, PRIOR.size, seed=seed, replicates=_REPLICATES)
    before, after = (
        spent_by(i, alpha=false_alarms, horizon=evaluations) for i in (evaluations - 2, evaluations - 1)
    )
    share = after - before  # what the last look may spend
    bar = Budget(len(PRIOR.size), _REPLICATES, false_alarms).bar(healthy, share)
    told = np.exp(-0.5 * ((PRIOR.size - jitter) / max(0.25 * jitter, 0.003)) ** 2)  # as a run would know it
    critical = bar.critical(told / told.sum(), share)
    lasting = []
    for w in sorted(set(seen.of.width.tolist())):
        rows = seen.of.width == w
        chance = math.sqrt(float(np.median(seen.sampling[rows])) + jitter**2 * 2.0 / w)
        lasting.append(critical * float(np.median(seen.error[rows])) + float(ndtri(power)) * chance)
    return Plan(
        prompts=prompts,
        evaluations=evaluations,
        visible=_BY_THE_END * min(lasting),
        error=spread / math.sqrt(prompts),
        jitter=jitter,
        false_alarms=false_alarms,
    )


def worth_more_prompts(
    evaluations: int = 20, *, sizes: Sequence[int] = (32, 64, 128, 256, 512, 1024), **rules: Any
) -> int:
    """The number of prompts from which twice as many show hardly a smaller fall.

    Args:
        evaluations: Of the run.
        sizes: Numbers to try, each about twice the one before.
        **rules: As for `plan`.
    """
    for small, large in pairwise(sizes):
        less, more = (plan(n, evaluations, **rules).visible for n in (small, large))
        if more > _ENOUGH * less:
            return small
    return sizes[-1]


def as_win_rate(share: float) -> float:
    """A share of the pool score as a share of comparisons with references, as near one half.

    Example:
        >>> round(as_win_rate(0.081), 3)
        0.1
    """
    return share / _POOL_PER_POINT


def as_pool_score(share: float) -> float:
    """The inverse of `as_win_rate`."""
    return share * _POOL_PER_POINT


def _residuals(t: int, n: int, spread: float, near: float | None, seed: int) -> FloatArray:
    """``(t, n)`` scores around nothing, whose paired differences vary as those of a run do."""
    rng = np.random.default_rng([seed, 3])
    stays, answer = _shape(spread, near)
    way = np.empty((t, n))
    way[0] = rng.normal(size=n)
    for s in range(1, t):
        way[s] = stays * way[s - 1] + math.sqrt(1 - stays**2) * rng.normal(size=n)
    scores = math.sqrt(1 - answer) * way + math.sqrt(answer) * rng.normal(size=(t, n))
    centred: FloatArray = spread / math.sqrt(2.0) * (scores - scores.mean(axis=1, keepdims=True))
    return centred


def _shape(spread: float, near: float | None) -> tuple[float, float]:
    """How much a checkpoint keeps, and the share of the answer's draw, such that neighbours differ by `near`.

    Of two checkpoints k evaluations apart the difference has a share ``(1 - a)(1 - s^k) + a`` of the variance
    of two far apart.
    """
    if near is None:
        return _STAYS, _ANSWER
    share = min((near / spread) ** 2, 1.0)
    left = (share - (1.0 - _STAYS)) / _STAYS
    return (_STAYS, left) if left >= 0.0 else (1.0 - share, 0.0)
