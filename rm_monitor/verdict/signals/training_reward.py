"""The reward that training optimises, as the trainer logs it: does it rise while answers get worse?"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from scipy.special import ndtr

from rm_monitor.types import Estimate, FloatArray, Signal

__all__ = ["KEYS", "TrainingRewards", "rise"]

# Where trainers log the reward that they optimise, the plainest first (read in TRL 1.16): GRPO, RLOO and
# A2PO; online DPO, and PPO before it was retired; DPO, KTO, CPO, ORPO and TPO, whose reward is implicit.
KEYS = ("reward", "objective/scores", "objective/rlhf_reward", "rewards/margins", "rewards/chosen")

FEWEST_LOGS = 5
LEVEL = 0.05


@dataclass
class TrainingRewards:
    """The training reward as logged so far; batch means, so each is one noisy number.

    Attributes:
        key: The log key it is read from; empty before the first.

    Example:
        >>> rewards = TrainingRewards()
        >>> for step in range(10, 80, 10):
        ...     rewards.note(step, {"loss": 1.0, "rewards/margins": step / 100})
        >>> rewards.key, rewards.between(20, 50)
        ('rewards/margins', [0.2, 0.3, 0.4, 0.5])
    """

    key: str = ""
    _logs: dict[str, dict[int, float]] = field(default_factory=dict)

    def note(self, step: int, logs: Mapping[str, Any]) -> None:
        """Read one record of logs; the same step again replaces it."""
        for key in KEYS:
            value = logs.get(key)
            if isinstance(value, (int, float)) and math.isfinite(value):
                self._logs.setdefault(key, {})[int(step)] = float(value)
                if not self.key or KEYS.index(key) < KEYS.index(self.key):
                    self.key = key

    def between(self, since: int, until: int) -> list[float]:
        """Values logged at the steps from ``since`` to ``until``, both included, in order."""
        logs = sorted(self._logs.get(self.key, {}).items())
        return [value for step, value in logs if since <= step <= until]

    def signal(self, *, since: int, step: int, judge: Estimate | None) -> Signal | None:
        """Whether the training reward rose since a step from which the headline has fallen.

        Args:
            since: Last step of the earlier window that the alarm or warning compares with.
            step: Step of the alarm or warning.
            judge: How the headline moved between the two.
        """
        values = self.between(since, step)
        rose = rise(values)
        if rose is None or not rose.p <= LEVEL:
            return None
        return Signal(
            name="training_reward",
            about=self.key,
            step=step,
            against=(since,),
            judge=judge,
            before=rose.before,
            now=rose.now,
            order=rose.order,
            n=len(values),
        )


class Rise(NamedTuple):
    """A trend in a row of numbers.

    Attributes:
        before: Mean of the first third.
        now: Mean of the last third.
        order: Share of pairs of which the later one is higher, ties half.
        p: One-sided, against no trend.
    """

    before: float
    now: float
    order: float
    p: float


def rise(values: Sequence[float]) -> Rise | None:
    """Mann-Kendall trend test, one-sided for a rise; None for fewer than five values.

    Only the order counts, so no scale and no outlier matters. It takes the values as independent apart from
    the trend, which batch means of a training run nearly are.

    Example:
        >>> found = rise([0.1, 0.3, 0.2, 0.5, 0.6, 0.8])
        >>> round(found.order, 2), round(found.p, 3)
        (0.93, 0.012)
    """
    x = np.asarray(values, dtype=np.float64)
    if x.size < FEWEST_LOGS:
        return None
    later = np.triu(np.sign(x[None, :] - x[:, None]), 1)
    score, pairs = float(later.sum()), x.size * (x.size - 1) / 2
    third = max(1, x.size // 3)
    p = float(ndtr(-(score - 1.0) / math.sqrt(_variance(x)))) if score > 0 else 1.0  # continuity: minus 1
    return Rise(float(x[:third].mean()), float(x[-third:].mean()), 0.5 + 0.5 * score / pairs, p)


def _variance(x: FloatArray) -> float:
    """Of the sum of signs over pairs when there is no trend, ties counted (Kendall 1975)."""
    _, equal = np.unique(x, return_counts=True)
    n = x.size
    ties = float((equal * (equal - 1) * (2 * equal + 5)).sum())
    return max((n * (n - 1) * (2 * n + 5) - ties) / 18.0, 1e-12)
