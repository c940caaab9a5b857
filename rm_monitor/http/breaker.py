"""A circuit breaker: a server that keeps failing is left alone for a while."""

from __future__ import annotations

import threading

from rm_monitor.http.limits import Clock, Limits

__all__ = ["Breaker"]


class Breaker:
    """Opens after some failed calls in a row; after a pause one call may try again.

    Example:
        >>> time = [0.0]
        >>> breaker = Breaker(Limits(open_after=2, cooldown=30), Clock(now=lambda: time[0]))
        >>> breaker.failed(); breaker.failed(); breaker.closed_for()
        30.0
        >>> time[0] = 31.0; breaker.closed_for(), breaker.closed_for()  # one trial call, the next one waits
        (0.0, 30.0)
    """

    def __init__(self, limits: Limits, clock: Clock) -> None:
        self._limits = limits
        self._clock = clock
        self._lock = threading.Lock()
        self._failures = 0
        self._until: float | None = None

    def closed_for(self) -> float:
        """Seconds for which no call may be made; 0: go ahead."""
        with self._lock:
            now = self._clock.now()
            if self._until is None:
                return 0.0
            if now < self._until:
                return self._until - now
            self._until = now + self._limits.cooldown  # others wait for what this one finds
            return 0.0

    def worked(self) -> None:
        """A call succeeded, or the server showed in another way that it lives."""
        with self._lock:
            self._failures, self._until = 0, None

    def failed(self) -> None:
        """A call failed after all its attempts."""
        with self._lock:
            self._failures += 1
            if self._failures >= self._limits.open_after:
                self._until = self._clock.now() + self._limits.cooldown
