"""What would have to come for a dip to become an alarm: a computation, no prophecy."""

from __future__ import annotations

from copy import deepcopy

from rm_monitor.stats.detector import Detector
from rm_monitor.types import FloatArray

__all__ = ["evaluations_until_alarm"]


def evaluations_until_alarm(detector: Detector, row: FloatArray, *, most: int = 3) -> int | None:
    """How many further evaluations that read as this one does raise the alarm.

    Args:
        detector: Of the run so far; it is left as it is.
        row: ``(n,)`` scores of its last evaluation, which are added again and again.
        most: How many are tried.

    Returns:
        From 1 to ``most``; None if that many do not.

    Example:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> detector = Detector(horizon=20)
        >>> rows = [rng.normal(level, 1.0, 200) for level in (0.0, 0.5, 0.5, 0.5, 0.1)]
        >>> looks = [detector.add(row)[0] for row in rows]
        >>> looks[-1].flagged, evaluations_until_alarm(detector, rows[-1])
        (False, 1)
    """
    ahead = deepcopy(detector)
    for count in range(1, most + 1):
        if ahead.add(row)[0].flagged:
            return count
    return None
