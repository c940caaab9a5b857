"""Measuring for a run that another process records: nothing is written, references are read."""

from __future__ import annotations

from pathlib import Path

from rm_monitor.errors import RMMonitorError
from rm_monitor.monitor.monitor import RewardMonitor
from rm_monitor.monitor.run import Run
from rm_monitor.types import EvalPoint, Table

__all__ = ["judge_once", "reader"]


def reader(monitor: RewardMonitor, output_dir: str | Path | None = None) -> Run:
    """A run of this monitor that measures, and records only while it is its turn (`Run.turn`).

    Args:
        monitor: What to judge with; its curve is this run's from now on.
        output_dir: Used when the monitor was built without one.
    """
    run = Run(monitor._parts, monitor.settings.folder_in(output_dir))
    run.read()
    monitor._run = run
    return run


def judge_once(monitor: RewardMonitor) -> tuple[EvalPoint, Table]:
    """Measure what the generator gives, without a model, a folder or a run: the point, and its rows.

    Raises:
        Exception: Whatever went wrong.
    """
    parts = monitor._parts
    measured = parts.evaluator.measure(None, None, step=0)
    if measured.error is not None or measured.table is None:
        raise measured.error or RMMonitorError("nothing was measured")
    return parts.point_of(measured, step=0), measured.table
