"""A run that begins late: training resumes at once, while the lock of the machine before it runs out."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from rm_monitor.errors import StoreBusyError, StoreLockedError
from rm_monitor.training.ranks import Ranks

__all__ = ["LateBegin", "patiently"]

log = logging.getLogger("rm_monitor")

GIVEN_UP = 420.0  # seconds after which a lock that a file server never lets go of is asked for no more
NOTHING_LOST = 45.0  # seconds that a run may wait which has not trained a step yet


class LateBegin:
    """Tells when to try again; the same on every rank, by rank 0's clock.

    Args:
        busy: What kept the run from beginning.
    """

    def __init__(self, busy: StoreBusyError) -> None:
        self._ranks = Ranks.current()
        self._began = time.monotonic()
        self._again = self._began + busy.again + 1.0
        self.over = False
        if self._ranks.is_first:
            log.warning("rm_monitor: %s. Training goes on, without being judged until then", busy)

    def tries(self, begin: Callable[[], None]) -> bool:
        """Begin, if it is time; whether it has begun.

        Raises:
            StoreLockedError: Once, if another process writes there, or the lock is never let go of.
            Exception: What else keeps it from beginning.
        """
        if self.over or not self._ranks.broadcast(time.monotonic() >= self._again):
            return False
        try:
            begin()
        except StoreBusyError as busy:
            self._again = time.monotonic() + busy.again + 1.0
            self.over = self._ranks.broadcast(time.monotonic() - self._began > GIVEN_UP)
            if self.over:
                raise StoreLockedError(
                    f"{busy}; it is asked for no more, and this run is not judged"
                ) from busy
            return False
        except Exception:
            self.over = True
            raise
        return True


def patiently(begin: Callable[[], None]) -> None:
    """Begin a run that has not trained a step: it may wait for a lock of another machine, for a moment.

    Raises:
        StoreLockedError: If it is not free by then.
        Exception: What else keeps it from beginning.
    """
    began = time.monotonic()
    while True:
        try:
            return begin()
        except StoreBusyError as busy:
            if time.monotonic() - began + busy.again > NOTHING_LOST:
                raise
            log.warning("rm_monitor: %s. It is waited for", busy)
            time.sleep(busy.again + 1.0)
