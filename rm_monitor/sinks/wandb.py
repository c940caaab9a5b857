"""Weights & Biases: the run that somebody else opened, on the axis ``train/global_step``.

Never ``step=`` (beside the Trainer's own logging W&B would silently drop rows), never globs in
``define_metric`` (they collide with
the Trainer's), never ``Html`` of model text.
"""

from __future__ import annotations

import logging
from typing import Any

import numpy as np

from rm_monitor import messages
from rm_monitor.sinks.row import row
from rm_monitor.text.escape import cut, visible
from rm_monitor.types import Update

__all__ = ["WandbSink"]

log = logging.getLogger("rm_monitor")

AXIS = "train/global_step"
VISIBLE = ("win_prob", "win_rate", "reward", "length", "truncated", "degraded", "best_step")
ROWS = 16
CELL = 4000  # characters of a text
COLUMNS = ["step", "prompt", "completion", "reference", "reward", "reference_reward", "win_prob"]


class WandbSink:
    """Logs to ``wandb.run``, or to a run that is given; without one it does nothing.

    Args:
        run: A run; None: the one that is open when an evaluation is shown.
    """

    def __init__(self, run: Any = None) -> None:
        self._run = run
        self._defined: set[str] = set()
        self._table: Any = None

    def show(self, update: Update) -> None:
        """Log the row, the samples, the histogram and the curve; alert on a change for the worse."""
        run = self._run or _open_run()
        if run is None:
            return
        import wandb  # noqa: PLC0415  1.3 s, and a run is open, so it is paid already

        values: dict[str, Any] = dict(row(update))
        for name in values:
            self._define(run, name)
        values |= self._media(wandb, update)
        run.log({**values, AXIS: update.point.step})
        run.summary["rm_monitor/verdict"] = update.verdict.reason
        run.summary["rm_monitor/flags"] = ", ".join(update.verdict.flags)
        if update.best is not None:
            run.summary["rm_monitor/best_step"] = update.best.step
            run.summary["rm_monitor/best_checkpoint"] = update.best.checkpoint or ""
        if update.changed and update.verdict.state in ("warned", "degraded"):
            title = f"rm_monitor: {update.verdict.state} at step {update.point.step}"
            run.alert(title=title, text=messages.alarm(update), level="WARN")
        for signal in update.news:
            if messages.is_grave(signal):
                title = f"rm_monitor: {signal.name.replace('_', ' ')} at step {update.point.step}"
                run.alert(title=title, text=messages.note(signal, metric=update.metric), level="WARN")

    def _define(self, run: Any, name: str) -> None:
        if name not in self._defined:
            short = name.removeprefix("rm_monitor/")
            second = short.count("/") == 1 and short.endswith(("/win_prob", "/win_rate"))
            shown = (
                short in VISIBLE or second or short in ("lc_win_prob", "divergence", "diverges_from_reward")
            )
            summary = "max" if short in ("win_prob", "win_rate") else "last"
            run.define_metric(name, step_metric=AXIS, hidden=not shown, summary=summary)
            self._defined.add(name)

    def _media(self, wandb: Any, update: Update) -> dict[str, Any]:
        from rm_monitor.report.card import card  # noqa: PLC0415

        media: dict[str, Any] = {}
        if update.table is not None:
            if self._table is None:
                self._table = wandb.Table(columns=COLUMNS, log_mode="INCREMENTAL")
            for values in _samples(update):
                self._table.add_data(*values)
            media["rm_monitor/samples"] = self._table
            reward = update.table.values.get("reward")
            if reward is not None and np.isfinite(reward).any():
                media["rm_monitor/scores"] = wandb.Histogram(reward[np.isfinite(reward)].ravel().tolist())
        band = _band(update)
        if band is not None:
            steps, lines = band
            media["rm_monitor/band"] = wandb.plot.line_series(
                steps,
                lines,
                keys=["95 % low", update.metric, "95 % high"],
                title=f"{messages.label(update.metric)}, with its 95 % interval",
                xname="step",
            )
        media["rm_monitor/curve"] = wandb.Html(
            card(update.curve, update.verdict, update.best, update.metric),
            inject=False,
            data_is_not_path=True,
        )
        return media


def _open_run() -> Any:
    """The open run, if wandb is loaded at all; a disabled run counts as none."""
    import sys  # noqa: PLC0415

    wandb = sys.modules.get("wandb")
    run = getattr(wandb, "run", None)
    return None if run is None or getattr(run, "disabled", False) else run


def _band(update: Update) -> tuple[list[int], list[list[float]]] | None:
    """Steps, and the lower end, the value and the upper end at each; None before the first number."""
    known = [(p.step, p.metrics[update.metric]) for p in update.curve if update.metric in p.metrics]
    if not known:
        return None
    steps = [step for step, _ in known]
    return steps, [[float(getattr(e, end)) for _, e in known] for end in ("low", "value", "high")]


def _cell(text: str) -> str:
    """A text as a plain cell, not longer than a person reads: W&B keeps every row for ever."""
    return visible(cut(text, CELL))


def _samples(update: Update) -> list[list[Any]]:
    """The same few prompts each time, as plain text and numbers."""
    table = update.table
    assert table is not None
    rows = []
    for i in range(min(ROWS, len(table.completions))):
        fixed = update.references.completions[i].text if update.references else ""
        own = update.reference_rewards
        rows.append(
            [
                float(update.point.step),
                _cell(update.prompts[i].text if update.prompts else table.prompt_ids[i]),
                _cell(table.completions[i][0].text),
                _cell(fixed),
                float(table.values["reward"][i, 0]) if "reward" in table.values else float("nan"),
                float(own[i]) if own is not None else float("nan"),
                float(table.values["win_prob"][i, 0]) if "win_prob" in table.values else float("nan"),
            ]
        )
    return rows
