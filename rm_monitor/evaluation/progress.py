"""A progress bar that appears only when the work takes more than a few seconds."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable
from typing import Any

__all__ = ["SlowBar"]


class SlowBar:
    """A tqdm bar for work that may be over before anyone looks; a log file gets none.

    Args:
        label: Shown in front of the bar.
        patience: Seconds of work before the bar is drawn.
        watched: Whether somebody looks; None: standard error is a terminal, or a notebook's.
        clock: Where the seconds come from.

    Example:
        >>> bar = SlowBar("generate", clock=lambda: 0.0)
        >>> bar(1, 8)          # too early for a bar
        >>> bar.close()
    """

    def __init__(
        self,
        label: str,
        *,
        patience: float = 3.0,
        clock: Callable[[], float] = time.monotonic,
        watched: bool | None = None,
    ) -> None:
        self.label = label
        self.patience = patience
        self._clock = clock
        self._start = clock()
        self._bar: Any = None
        self._watched = _is_watched() if watched is None else watched

    def __call__(self, done: int, total: int) -> None:
        """``done`` of ``total`` pieces are finished."""
        if self._bar is None:
            if not self._watched or self._clock() - self._start < self.patience or done >= total:
                return
            from tqdm.auto import tqdm  # noqa: PLC0415  only when a bar is drawn

            self._bar = tqdm(total=total, desc=f"rm_monitor {self.label}", leave=False, file=sys.stderr)
        self._bar.n = done
        self._bar.refresh()

    def close(self) -> None:
        """Take the bar away, if there was one."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def _is_watched() -> bool:
    if logging.getLogger("rm_monitor.console").level >= logging.WARNING:  # somebody wants it quiet
        return False
    return sys.stderr.isatty() or "ipykernel" in sys.modules
