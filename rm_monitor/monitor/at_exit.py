"""A run that Ctrl-C or an exception ends is told of all the same: what was best, and where it lies."""

from __future__ import annotations

import atexit
import weakref
from typing import Protocol

from rm_monitor.monitor.quietly import say

__all__ = ["HasLastWords", "say_at_exit"]


class HasLastWords(Protocol):
    """What may be left open when the process ends."""

    def last_words(self) -> str:
        """What is to be said then; empty: nothing."""
        ...


def say_at_exit(run: HasLastWords) -> None:
    """Print a run's last words when the process ends, unless it was closed; nothing keeps it alive till then.

    Nothing is waited for and nothing is sent: whoever pressed Ctrl-C wants the prompt back.
    """
    there = weakref.ref(run)

    def speak() -> None:
        found = there()
        words = "" if found is None else found.last_words()
        if words:
            say(words)

    atexit.register(speak)
    weakref.finalize(run, atexit.unregister, speak).atexit = False
