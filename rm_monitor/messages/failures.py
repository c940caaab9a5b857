"""Failures of ours, in the log: loud each time, with a traceback the first time."""

from __future__ import annotations

import logging
from collections import Counter

__all__ = ["FailureLog"]

log = logging.getLogger("rm_monitor")


class FailureLog:
    """Counts failures by kind.

    Example:
        >>> logging.disable(logging.WARNING)
        >>> FailureLog()("history", "step 3 could not be written", OSError("disk full"))
        >>> logging.disable(logging.NOTSET)
    """

    def __init__(self) -> None:
        self._count: Counter[str] = Counter()

    def __call__(self, key: str, message: str, problem: BaseException) -> None:
        """Log one; ``key`` names its kind."""
        self._count[key] += 1
        first = self._count[key] == 1
        again = "" if first else f"; {self._count[key]} times so far"
        name = type(problem).__name__
        cause = problem if first else None
        log.warning("rm_monitor: %s (%s: %s)%s", message, name, problem, again, exc_info=cause)
