"""How long and how much, and the clock that decides it."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field, fields

__all__ = ["Clock", "Limits"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The bounds of one call. Times in seconds.

    Attributes:
        connect: Longest wait for a connection.
        read: Longest silence while an answer is awaited or read.
        total: The whole call: every attempt and every wait between them.
        attempts: Times a request is sent at most; only 408, 429, 5xx, time-outs and broken connections are
            tried again.
        backoff: First wait between attempts; doubled each time, and drawn between half of it and all of it.
        longest_wait: No wait is longer, whatever ``Retry-After`` asks for.
        max_bytes: Longest answer that is read.
        open_after: Failed calls in a row after which calls fail at once ...
        cooldown: ... for this long; then one call tries again.

    Raises:
        ValueError: If a value is not above 0.
    """

    connect: float = 5.0
    read: float = 60.0
    total: float = 300.0
    attempts: int = 4
    backoff: float = 0.5
    longest_wait: float = 30.0
    max_bytes: int = 32 * 2**20
    open_after: int = 3
    cooldown: float = 30.0

    def __post_init__(self) -> None:
        for given in fields(self):
            value = getattr(self, given.name)
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"`{given.name}` must be above 0 and finite, got {value}")

    def wait(self, attempt: int, chance: float, asked: float | None) -> float:
        """Seconds between attempt number ``attempt`` (from 0) and the next.

        Args:
            attempt: How many attempts have failed before this one.
            chance: In [0, 1): spreads clients that failed together.
            asked: What the server's ``Retry-After`` says, if it does; it is obeyed up to ``longest_wait``.

        Example:
            >>> limits = Limits(backoff=1.0, longest_wait=10.0)
            >>> limits.wait(0, 0.0, None), limits.wait(2, 0.5, None), limits.wait(0, 0.0, 3600.0)
            (0.5, 3.0, 10.0)
        """
        spread = self.backoff * 2.0 ** min(attempt, 30) * (0.5 + 0.5 * chance)
        return min(max(spread, asked or 0.0), self.longest_wait)


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """Time and chance, so that tests need neither. No global random state is touched."""

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    chance: Callable[[], float] = field(default_factory=lambda: random.SystemRandom().random)
