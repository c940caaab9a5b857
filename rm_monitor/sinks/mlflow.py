"""MLflow: the run that somebody else opened."""

from __future__ import annotations

import re
from typing import Any

from rm_monitor.sinks.row import row
from rm_monitor.types import Update

__all__ = ["MLflowSink"]

_FORBIDDEN = re.compile(r"[^0-9A-Za-z_\-. :/]")  # MLflow refuses names with anything else


class MLflowSink:
    """Logs to the active MLflow run; without one it does nothing.

    Args:
        client: What has ``active_run`` and ``log_metrics``; None: the ``mlflow`` module.
    """

    def __init__(self, client: Any = None) -> None:
        self._client = client

    def show(self, update: Update) -> None:
        """Log the numbers that are known, on the optimizer step, and the best checkpoint as tags."""
        if self._client is None:
            import mlflow  # noqa: PLC0415  an extra

            self._client = mlflow
        if self._client.active_run() is None:
            return
        known = {_FORBIDDEN.sub("_", name): v for name, v in row(update).items() if v == v}
        self._client.log_metrics(known, step=update.point.step)
        tags = {"rm_monitor.verdict": update.verdict.reason}
        if update.best is not None:
            tags["rm_monitor.best_step"] = str(update.best.step)
            tags["rm_monitor.best_checkpoint"] = update.best.checkpoint or ""
        self._client.set_tags(tags)
