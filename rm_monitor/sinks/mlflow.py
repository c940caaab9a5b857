"""MLflow: the run that somebody else opened."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from rm_monitor.sinks.row import row
from rm_monitor.types import Update

__all__ = ["MLflowSink"]

_FORBIDDEN = re.compile(r"[^0-9A-Za-z_\-. :/]")  # MLflow refuses names with anything else


class MLflowSink:
    """Logs to the active MLflow run; without one it does nothing.

    Args:
        client: What has ``active_run`` and ``log_metrics``; None: the ``mlflow`` module.
        registered_model: Name in the model registry under which the best is uploaded; the alias ``best``
            moves to it. None: it is named by tags alone.
    """

    def __init__(self, client: Any = None, *, registered_model: str | None = None) -> None:
        self._client = client
        self._model = registered_model
        self._registered: tuple[str, int] | None = None  # run and step

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
        self._register(update)

    def _register(self, update: Update) -> None:
        """Upload the best and move the alias; once a best that lies on disk."""
        best = update.best
        if self._model is None or best is None or not best.checkpoint or not Path(best.checkpoint).is_dir():
            return
        run = self._client.active_run().info.run_id
        if self._registered == (run, best.step):
            return
        place = f"rm_monitor/step-{best.step}"
        self._client.log_artifacts(str(Path(best.checkpoint).resolve()), artifact_path=place)
        registry = self._client.MlflowClient()
        if not registry.search_registered_models(filter_string=f"name = '{self._model}'"):
            registry.create_registered_model(self._model)
        source = self._client.get_artifact_uri(place)
        version = registry.create_model_version(self._model, source=source, run_id=run)
        registry.set_registered_model_alias(self._model, "best", version.version)
        self._registered = (run, best.step)
