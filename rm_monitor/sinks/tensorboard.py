"""TensorBoard: an event file of our own beside the Trainer's, on the optimizer step.

A callback cannot reach the Trainer's writer, and two writers may share a folder: TensorBoard shows both.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rm_monitor.sinks.row import row
from rm_monitor.types import Update

__all__ = ["TensorBoardSink"]


class TensorBoardSink:
    """Writes scalars to ``<output_dir>/runs/rm_monitor``, or to a writer that is given.

    Args:
        writer: A ``SummaryWriter``; None: our own, opened at the first evaluation.
    """

    def __init__(self, writer: Any = None) -> None:
        self._writer = writer

    def show(self, update: Update) -> None:
        """Write one scalar a number; a number that is not known is not written."""
        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415  an extra, and torch

            self._writer = SummaryWriter(str(Path(update.output_dir).parent / "runs" / "rm_monitor"))
        for name, value in row(update).items():
            if value == value:  # TensorBoard draws a nan as a triangle at zero
                self._writer.add_scalar(name, value, update.point.step)
        self._writer.add_text("rm_monitor/verdict", update.verdict.reason, update.point.step)
        self._writer.flush()
