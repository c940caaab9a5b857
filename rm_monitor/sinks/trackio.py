"""Trackio: the run that somebody else opened."""

from __future__ import annotations

import sys
from typing import Any

from rm_monitor import messages
from rm_monitor.sinks.row import row
from rm_monitor.types import Update

__all__ = ["TrackioSink"]


class TrackioSink:
    """Logs to the open Trackio run; without one it does nothing.

    Args:
        run: A run; None: the one that is open when an evaluation is shown.
    """

    def __init__(self, run: Any = None) -> None:
        self._run = run

    def show(self, update: Update) -> None:
        """Log the numbers that are known, on the optimizer step; alert on a change for the worse."""
        run = self._run or _open_run()
        if run is None:
            return
        known = {name: value for name, value in row(update).items() if value == value}
        run.log({**known, "train/global_step": update.point.step})
        if update.changed and update.verdict.state in ("warned", "degraded") and hasattr(run, "alert"):
            title = f"rm_monitor: {update.verdict.state} at step {update.point.step}"
            run.alert(title=title, text=messages.alarm(update))
        for signal in update.news:
            if messages.is_grave(signal) and hasattr(run, "alert"):
                title = f"rm_monitor: {signal.name.replace('_', ' ')} at step {update.point.step}"
                run.alert(title=title, text=messages.note(signal, metric=update.metric))


def _open_run() -> Any:
    """The open run, if trackio is loaded at all."""
    variables = sys.modules.get("trackio.context_vars")
    return None if variables is None else variables.current_run.get()
