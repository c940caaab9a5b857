"""Weights & Biases: the run that somebody else opened, on the axis ``train/global_step``.

Never ``step=`` (beside the Trainer's own logging W&B would silently drop rows), never globs in
``define_metric`` (they collide with the Trainer's), never ``summary=`` (each value of the summary would be a
mapping, which no filter, sweep or report reads), never ``Html`` of model text.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from rm_monitor import messages
from rm_monitor.curve.metrics import find
from rm_monitor.files.strict_json import read_object
from rm_monitor.sinks.row import row
from rm_monitor.sinks.wandb.media import Media
from rm_monitor.sinks.wandb.models import LogBest, Models
from rm_monitor.types import Update

__all__ = ["AXIS", "WandbSink"]

AXIS = "train/global_step"


class WandbSink:
    """Logs to ``wandb.run``, or to a run that is given; without one it does nothing.

    What it remembers belongs to one run, by its id: in a second run of the same process it begins anew. The
    numbers go first and nothing after them can cost them.

    Args:
        run: A run; None: the one that is open when an evaluation is shown.
        log_best: The best checkpoint as a model artifact ``<run id>-best`` whose alias ``best`` moves:
            ``"reference"``: where it lies, nothing is uploaded; ``"upload"``: its files; None: not at all.
            Where transformers uploads checkpoints itself (``WANDB_LOG_MODEL=checkpoint``) its artifact gets
            the alias.
        link: A collection of the registry that the best is linked to, such as
            ``"wandb-registry-model/my-model"``; None: none.

    Raises:
        ValueError: If ``log_best`` is none of these.
    """

    def __init__(self, run: Any = None, *, log_best: LogBest = "reference", link: str | None = None) -> None:
        if log_best not in ("reference", "upload", None):
            raise ValueError(f"`log_best` must be 'reference', 'upload' or None, got {log_best!r}")
        self._run = run
        self._log_best = log_best
        self._link = link
        self._of: _OfRun | None = None

    def show(self, update: Update) -> None:
        """Log the row, then the conditions, the summary, the alerts, the pictures and the best checkpoint.

        Raises:
            Exception: What the first part that failed raised; the other parts are logged all the same.
        """
        run = self._open()
        if run is None:
            return
        if self._of is None or self._of.id != run.id:
            self._of = _OfRun(run, log_best=self._log_best, link=self._link)
        self._of.show(update)

    def close(self) -> None:
        """Send what was held back; the run itself is left open, it is somebody else's."""
        run = self._open()
        if self._of is not None and run is not None and run.id == self._of.id:
            self._of.close()

    def _open(self) -> Any:
        """The run, if wandb is loaded at all; a disabled run counts as none."""
        if self._run is not None:
            return self._run
        wandb = sys.modules.get("wandb")
        run = None if wandb is None else wandb.run
        return None if run is None or run.disabled else run


class _OfRun:
    """What one W&B run was sent."""

    def __init__(self, run: Any, *, log_best: LogBest, link: str | None) -> None:
        self.id = run.id
        self._run = run
        self._defined: set[str] = set()
        self._segment: str | None = None
        self._media = Media(run, AXIS)
        self._models = Models(run, log_best=log_best, link=link)
        self._last: Update | None = None

    def show(self, update: Update) -> None:
        self._last = update
        parts = (
            self._numbers,
            self._conditions,
            self._summary,
            self._alerts,
            self._media.show,
            self._models.show,
        )
        _each(parts, update)

    def close(self) -> None:
        if self._last is not None:
            _each((self._media.close, self._models.close), self._last)

    def _numbers(self, update: Update) -> None:
        values: dict[str, Any] = dict(row(update))
        try:
            for name in values.keys() - self._defined:
                self._define(name)
        finally:
            self._run.log({**values, AXIS: update.point.step})

    def _define(self, name: str) -> None:
        short = name.removeprefix("rm_monitor/")
        metric = find(short)
        second = metric.even_at_half and short.count("/") == 1 and short.endswith(f"/{metric.name}")
        shown = metric.shown and (short == metric.name or second)
        self._run.define_metric(name, step_metric=AXIS, hidden=not shown)
        self._defined.add(name)

    def _conditions(self, update: Update) -> None:
        """What the numbers depend on, once a segment: runs can be grouped and filtered by judge."""
        if update.point.segment != self._segment:
            config = {"rm_monitor": conditions(update)}
            self._run.config.update(config, allow_val_change=True)
            self._segment = update.point.segment

    def _summary(self, update: Update) -> None:
        said: dict[str, Any] = {
            "verdict": update.verdict.state,
            "reason": update.verdict.reason,
            "flags": ", ".join(update.verdict.flags),
        }
        if update.best is not None:
            said |= {
                "best_step": update.best.step,
                f"best_{update.metric}": float(update.best.value.value),
                "best_checkpoint": update.best.checkpoint or "",
            }
        for name, value in said.items():
            self._run.summary[f"rm_monitor/{name}"] = value

    def _alerts(self, update: Update) -> None:
        if update.changed and update.verdict.state in ("warned", "degraded"):
            title = f"rm_monitor: {update.verdict.state} at step {update.point.step}"
            self._run.alert(title=title, text=messages.alarm(update), level="WARN")
        for signal in update.news:
            if messages.is_grave(signal):
                title = f"rm_monitor: {signal.name.replace('_', ' ')} at step {update.point.step}"
                self._run.alert(title=title, text=messages.note(signal, metric=update.metric), level="WARN")


def conditions(update: Update) -> dict[str, Any]:
    """What the numbers of a segment depend on, as ``manifest.json`` has it, and what people call it."""
    manifest = read_object(Path(update.output_dir) / "manifest.json")
    facts = {name: update.run[name] for name in ("reward_model", "every") if name in update.run}
    return {
        **facts,
        **manifest.get("comparable", {}),
        "segment": update.point.segment,
        "n_prompts": len(update.prompts),
        "version": manifest.get("versions", {}).get("rm_monitor", ""),
    }


def _each(parts: Any, update: Update) -> None:
    """Call every part; the first failure is raised when all were called."""
    first: Exception | None = None
    for part in parts:
        try:
            part(update)
        except Exception as problem:
            first = first or problem
    if first is not None:
        raise first
