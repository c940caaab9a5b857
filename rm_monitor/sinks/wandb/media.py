"""Pictures and samples for W&B, logged so that a run's files grow with the logarithm of its evaluations.

A picture of the whole curve at every evaluation is the square of it. So pictures and samples are sent at the
first evaluations, then each time their number has grown by a fifth, when the state changes, and at the end;
samples of the evaluations between are held back and sent with the next.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from rm_monitor.text.escape import cut, visible
from rm_monitor.types import Update

__all__ = ["CELL", "COLUMNS", "ROWS", "Media"]

ROWS = 16
CELL = 4000  # characters of a text
COLUMNS = ["step", "prompt", "completion", "reference", "reward", "reference_reward", "win_prob"]
FIRST = 5  # evaluations that are shown at once
GROWTH = 1.2


class Media:
    """Samples, the histogram of rewards and the curve with its band, for one run.

    Args:
        run: A W&B run.
        axis: Name of the step's column.
    """

    def __init__(self, run: Any, axis: str) -> None:
        self._run = run
        self._axis = axis
        self._table: Any = None
        self._held = 0  # evaluations whose samples were not sent
        self._shown = 0  # evaluations there were when pictures were last sent
        self._count = 0

    def show(self, update: Update) -> None:
        """Take the samples; send everything if it is time."""
        import wandb  # noqa: PLC0415  1.3 s, and a run is open, so it is paid already

        self._count += 1
        media: dict[str, Any] = {}
        if update.table is not None:
            if self._table is None:
                self._table = wandb.Table(columns=COLUMNS, log_mode="INCREMENTAL")
            for values in samples(update):
                self._table.add_data(*values)
            self._held += 1
            reward = update.table.values.get("reward")
            if reward is not None and np.isfinite(reward).any():
                media["rm_monitor/scores"] = wandb.Histogram(reward[np.isfinite(reward)].ravel().tolist())
        if update.changed or self._count <= FIRST or self._count >= math.ceil(self._shown * GROWTH):
            media |= self._pictures(wandb, update)
        if media:
            self._run.log({**media, self._axis: update.point.step})

    def close(self, update: Update) -> None:
        """Send what was held back."""
        import wandb  # noqa: PLC0415  a run is open

        if self._held or self._shown < self._count:
            self._run.log({**self._pictures(wandb, update), self._axis: update.point.step})

    def _pictures(self, wandb: Any, update: Update) -> dict[str, Any]:
        from rm_monitor.report.card import card  # noqa: PLC0415  only where it is drawn

        html = wandb.Html(
            card(update.curve, update.verdict, update.best, update.metric, framed=True),
            inject=False,
            data_is_not_path=True,
        )
        media: dict[str, Any] = {"rm_monitor/curve": html}
        if self._held:
            media["rm_monitor/samples"] = self._table
        self._shown, self._held = self._count, 0
        return media


def samples(update: Update) -> list[list[Any]]:
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
                float(table.values["reward"][i, 0]) if "reward" in table.values else math.nan,
                float(own[i]) if own is not None else math.nan,
                float(table.values["win_prob"][i, 0]) if "win_prob" in table.values else math.nan,
            ]
        )
    return rows


def _cell(text: str) -> str:
    """A text as a plain cell, not longer than a person reads: W&B keeps every row for ever."""
    return visible(cut(text, CELL))
