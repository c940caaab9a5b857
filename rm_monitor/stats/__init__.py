"""The mathematics: arrays in, arrays out. No files, no clock, no global random state, float64 throughout.

Conventions: a table is ``(t, n)``, row = evaluation, column = prompt; nan is unknown and is left out and
counted, never 0; shares are in [0, 1] (0.02 is 2 points); the same data and seed give the same answer.
"""

from rm_monitor.stats.bends import jitter
from rm_monitor.stats.calibration import Calibration, Reliability, fit_temperature, reliability
from rm_monitor.stats.choice import BestChoice, best, choose
from rm_monitor.stats.detector import Detector
from rm_monitor.stats.election import Election
from rm_monitor.stats.forecast import evaluations_until_alarm
from rm_monitor.stats.fresh_prompts import Retest, retest
from rm_monitor.stats.intervals import mean, paired_change, rate, share, win_prob, win_rate
from rm_monitor.stats.length import LengthControl, length_controlled
from rm_monitor.stats.look import MIN_UNITS, Look
from rm_monitor.stats.memory import Memory
from rm_monitor.stats.outcomes import outcome, settled, tie_width, win_probability
from rm_monitor.stats.planner import SPREAD, Plan, as_pool_score, as_win_rate, plan, worth_more_prompts
from rm_monitor.stats.pool import pool_scores, pool_temperature
from rm_monitor.stats.simultaneous import changes
from rm_monitor.stats.spreads import Spread, jitter_of_run, spread_of_run, spread_of_two_answers
from rm_monitor.stats.stages import Confirmed, FreshAnswers, confirm
from rm_monitor.stats.standing import Standing
from rm_monitor.stats.whole_run import degradation, smallest_visible_drop

__all__ = [
    "MIN_UNITS",
    "SPREAD",
    "BestChoice",
    "Calibration",
    "Confirmed",
    "Detector",
    "Election",
    "FreshAnswers",
    "LengthControl",
    "Look",
    "Memory",
    "Plan",
    "Reliability",
    "Retest",
    "Spread",
    "Standing",
    "as_pool_score",
    "as_win_rate",
    "best",
    "changes",
    "choose",
    "confirm",
    "degradation",
    "evaluations_until_alarm",
    "fit_temperature",
    "jitter",
    "jitter_of_run",
    "length_controlled",
    "mean",
    "outcome",
    "paired_change",
    "plan",
    "pool_scores",
    "pool_temperature",
    "rate",
    "reliability",
    "retest",
    "settled",
    "share",
    "smallest_visible_drop",
    "spread_of_run",
    "spread_of_two_answers",
    "tie_width",
    "win_prob",
    "win_probability",
    "win_rate",
    "worth_more_prompts",
]
