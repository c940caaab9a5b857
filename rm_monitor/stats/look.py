"""What one evaluation says about falling back, and which earlier rows it is compared with."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rm_monitor.types import FloatArray

__all__ = ["MIN_COVERAGE", "MIN_UNITS", "Contrasts", "Look", "contrasts"]

MIN_UNITS = 10  # below this many prompts that differ, a contrast says nothing
MIN_COVERAGE = 0.8  # of the prompts of the fullest row; what is missing is not missing at random


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What one evaluation says about falling back.

    Attributes:
        flagged: The alarm: the fall is beyond the critical value and at least the effect floor.
        low: Lower bound of the fall, in points of the score as a share; all such bounds of a run hold
            together with probability 1 - alpha. nan when nothing could be compared or no budget was spent
            yet.
        drop: The measured fall of that contrast, more than 0 when later is worse. At an alarm it is likely
            overstated: an alarm is raised when chance exaggerates.
        against: Rows of the earlier window of that contrast.
        now: Rows of the current window.
        p: Smallest ``alpha`` at which this fall would be beyond the critical value, adjusted for all
            contrasts and looks; nan when nothing could be compared.
        spent: False-alarm probability that the run has used up so far.
        n: Prompts known at this evaluation.
        critical: The critical value; infinite when no budget was spent yet, nan when nothing could be
            compared.
        visible: Smallest lasting fall that would usually (80 %) be seen at the end of the run; nan unknown.
        fresh_level: Level at which a `retest` on fresh prompts confirms this warning; nan: nothing to ask.
    """

    flagged: bool = False
    low: float = math.nan
    drop: float = math.nan
    against: tuple[int, ...] = ()
    now: tuple[int, ...] = ()
    p: float = math.nan
    spent: float = 0.0
    n: int = 0
    critical: float = math.nan
    visible: float = math.nan
    fresh_level: float = math.nan


@dataclass(frozen=True, slots=True)
class Contrasts:
    """Earlier windows against the current one.

    Attributes:
        weights: ``(k, t)``.
        past: ``(k,)`` last row of the earlier window.
        width: ``(k,)`` of both windows.
    """

    weights: FloatArray
    past: NDArray[np.int64]
    width: NDArray[np.int64]


def contrasts(t: int, windows: Sequence[int]) -> Contrasts:
    """All contrasts of the last row of ``t``, no window overlapping the current one."""
    rows, past, width = [], [], []
    for w in windows:
        for end in range(w - 1, t - w):
            weight = np.zeros(t)
            weight[end - w + 1 : end + 1] = 1.0 / w
            weight[t - w :] = -1.0 / w
            rows.append(weight)
            past.append(end)
            width.append(w)
    return Contrasts(
        np.array(rows).reshape(-1, t), np.array(past, dtype=np.int64), np.array(width, dtype=np.int64)
    )
