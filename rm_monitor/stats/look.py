"""What one evaluation says about falling back."""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["MIN_COVERAGE", "MIN_UNITS", "Look"]

MIN_UNITS = 10  # below this many units that differ, a contrast says nothing
MIN_COVERAGE = 0.8  # of the prompts of the fullest row; what is missing is not missing at random


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What one evaluation says about falling back.

    Attributes:
        flagged: The alarm: the fall is beyond the critical value and at least the effect floor.
        dip: Beyond what the choice of prompts explains, but not beyond the run's own ups and downs.
        low: Lower bound of the fall, in points of the score as a share; all such bounds of a run hold
            together with probability 1 - alpha. nan when nothing could be compared.
        drop: The measured fall of that contrast, more than 0 when later is worse. At an alarm it is likely
            overstated: an alarm is raised when chance exaggerates.
        against: Rows of the earlier window of that contrast.
        now: Rows of the current window.
        p: Smallest ``alpha`` at which this fall would be beyond the critical value, adjusted for all
            contrasts and looks; nan when nothing could be compared.
        spent: False-alarm probability that the run has used up so far.
        n: Prompts known at this evaluation.
        units: Independent units (prompts, or clusters of them) that are compared.
        critical: The critical value; nan when nothing could be compared.
        visible: Smallest lasting fall that would usually (80 %) be seen at the end of the run; infinite where
            no fall could be: under 10 units.
        jitter: What checkpoints of this run are taken to differ by from one to the next, as a share: a
            standard deviation; nan where jitter is not reckoned with.
        fresh_level: Level at which a `retest` on fresh prompts confirms this warning; nan: nothing to ask.
    """

    flagged: bool = False
    dip: bool = False
    low: float = math.nan
    drop: float = math.nan
    against: tuple[int, ...] = ()
    now: tuple[int, ...] = ()
    p: float = math.nan
    spent: float = 0.0
    n: int = 0
    units: int = 0
    critical: float = math.nan
    visible: float = math.nan
    jitter: float = math.nan
    fresh_level: float = math.nan
