"""One line an evaluation, a block when the state changes; the Trainer's progress bar stays whole."""

from __future__ import annotations

import logging
import sys
from dataclasses import replace
from typing import Any, TextIO

from rm_monitor import messages
from rm_monitor.text.escape import for_screen
from rm_monitor.types import Update

__all__ = ["ConsoleSink", "say"]

log = logging.getLogger("rm_monitor.console")  # at WARNING: changes of state and alarms only


class ConsoleSink:
    """Writes to standard output, or to a stream.

    Args:
        stream: None: standard output as it is when written to.
        only_changes: Keep quiet while the state stays the same.
        only_alarms: Keep quiet but for alarms and what is as grave: a card shows the rest.
    """

    def __init__(
        self, stream: TextIO | None = None, *, only_changes: bool = False, only_alarms: bool = False
    ) -> None:
        self._stream = stream
        self._only_changes = only_changes
        self._only_alarms = only_alarms

    def show(self, update: Update) -> None:
        """Print the line, and the block on a change of state for the worse or back.

        At an alarm nothing else is said: the page and the summary have what was seen beside it.
        """
        quiet = self._only_changes or log.level >= logging.WARNING
        if not self._only_alarms and (not quiet or update.changed):
            say(messages.line(update), self._stream)
        state = update.verdict.state if update.changed else ""
        if state in ("warned", "degraded", "recovered"):
            say(messages.alarm(update), self._stream)
        few = self._only_alarms or log.level >= logging.WARNING
        news = [s for s in update.news if not few or messages.is_loud(s)]
        if news and state not in ("warned", "degraded"):
            say(messages.news(replace(update, news=tuple(news))), self._stream)


def say(text: str, stream: TextIO | None = None) -> None:
    """Print without breaking a tqdm bar that somebody else draws, in characters the stream has.

    Whatever the text is made of, it moves no cursor and sets no colour.
    """
    out: Any = stream or sys.stdout
    encoding = getattr(out, "encoding", None) or "utf-8"
    text = for_screen(text).encode(encoding, "replace").decode(encoding)
    tqdm = sys.modules.get("tqdm")
    if tqdm is not None:
        tqdm.tqdm.write(text, file=out)
    else:
        print(text, file=out, flush=True)
