"""What training waits for is said each minute: no wait is a silent one."""

from __future__ import annotations

import logging
import threading

__all__ = ["LINE", "Waiting"]

log = logging.getLogger("rm_monitor")

LINE = 60.0  # seconds of waiting after which a line says so


class Waiting:
    """Says each minute, while it is entered, that something is waited for.

    What is waited for is somebody else's call, which cannot be looked into: a collective, a server, a
    function of the user's.

    Args:
        text: Who waits for what.
    """

    def __init__(self, text: str) -> None:
        self._text, self._waited = text, 0.0
        self._timer: threading.Timer | None = None

    def __enter__(self) -> None:
        self._timer = threading.Timer(LINE, self._say)
        self._timer.daemon = True
        self._timer.start()

    def __exit__(self, *why: object) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _say(self) -> None:
        if self._timer is not None:
            self._waited += LINE
            log.warning("rm_monitor: %s; %.0f s so far", self._text, self._waited)
            self.__enter__()
