"""TensorBoard: an event file of our own beside the Trainer's, on the optimizer step.

A callback cannot reach the Trainer's writer, and two writers may share a folder: TensorBoard shows both.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from rm_monitor.sinks.row import row
from rm_monitor.types import Update

__all__ = ["TensorBoardSink"]


class TensorBoardSink:
    """Writes scalars to a folder beside the Trainer's events, or to a writer that is given.

    The folder is ``rm_monitor`` in ``$TENSORBOARD_LOGGING_DIR``, which transformers reads, too, else in
    ``<output_dir>/runs``.

    Args:
        writer: A ``SummaryWriter``; None: our own, opened at the first evaluation.
    """

    def __init__(self, writer: Any = None) -> None:
        self._given = writer
        self._writers: dict[str, Any] = {}  # by folder: another run writes elsewhere

    def show(self, update: Update) -> None:
        """Write one scalar a number; a number that is not known is not written."""
        writer = self._given or self._writer(update)
        for name, value in row(update).items():
            if value == value:  # TensorBoard draws a nan as a triangle at zero
                writer.add_scalar(name, value, update.point.step)
        writer.add_text("rm_monitor/verdict", update.verdict.reason, update.point.step)
        writer.flush()

    def _writer(self, update: Update) -> Any:
        from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415  an extra, and torch

        beside = os.environ.get("TENSORBOARD_LOGGING_DIR")
        where = Path(beside) if beside else Path(update.output_dir).parent / "runs"
        folder = str(where / "rm_monitor")
        if folder not in self._writers:
            self._writers[folder] = SummaryWriter(folder)
        return self._writers[folder]
