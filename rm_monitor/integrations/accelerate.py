"""accelerate: the numbers go where ``accelerator.log`` goes, at the loop's own step."""

from __future__ import annotations

from typing import Any

from rm_monitor.sinks.row import row
from rm_monitor.types import Update

__all__ = ["AcceleratorSink"]


class AcceleratorSink:
    """Logs through an ``Accelerator`` that was started with ``init_trackers``.

    For loops that log with ``accelerator.log(values, step=step)``: W&B takes rows with and without a step in
    one run only by dropping some, so everybody must pass one. Beside it no W&B sink is needed:
    ``RewardMonitor(..., report_to=[AcceleratorSink(accelerator)])``.

    Args:
        accelerator: An ``accelerate.Accelerator``.
    """

    def __init__(self, accelerator: Any) -> None:
        self._accelerator = accelerator

    def show(self, update: Update) -> None:
        """Log the numbers that are known."""
        known = {name: value for name, value in row(update).items() if value == value}
        self._accelerator.log(known, step=update.point.step)
