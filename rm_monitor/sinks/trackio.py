"""Trackio: the run that somebody else opened."""

from __future__ import annotations

import sys
from pathlib import Path
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
        self._logged: tuple[Any, int] | None = None  # run and step of the best that it was told of

    def show(self, update: Update) -> None:
        """Log the numbers that are known, on the optimizer step; alert on a change for the worse."""
        run = self._run or _open_run()
        if run is None:
            return
        known = {name: value for name, value in row(update).items() if value == value}
        run.log({**known, "train/global_step": update.point.step})
        self._tell_best(run, update)
        if update.changed and update.verdict.state in ("warned", "degraded") and hasattr(run, "alert"):
            title = f"rm_monitor: {update.verdict.state} at step {update.point.step}"
            run.alert(title=title, text=messages.alarm(update))
        for signal in update.news:
            if messages.is_grave(signal) and hasattr(run, "alert"):
                title = f"rm_monitor: {signal.name.replace('_', ' ')} at step {update.point.step}"
                run.alert(title=title, text=messages.note(signal, metric=update.metric))

    def _tell_best(self, run: Any, update: Update) -> None:
        """Where the best lies, as a model artifact whose alias ``best`` moves; nothing is copied."""
        best, trackio = update.best, sys.modules.get("trackio")
        if self._run is not None or trackio is None or best is None or best.checkpoint is None:
            return
        folder = Path(best.checkpoint).resolve()  # `best/` shows another step tomorrow
        if self._logged == (run, best.step) or not folder.is_dir() or not hasattr(trackio, "Artifact"):
            return
        facts = {"step": best.step, update.metric: float(best.value.value), "path": str(folder)}
        artifact = trackio.Artifact("rm_monitor-best", type="model", metadata=facts)
        artifact.add_reference(folder.as_uri())
        trackio.log_artifact(artifact, aliases=["best", f"step-{best.step}"])
        self._logged = (run, best.step)


def _open_run() -> Any:
    """The open run, if trackio is loaded at all."""
    variables = sys.modules.get("trackio.context_vars")
    return None if variables is None else variables.current_run.get()
