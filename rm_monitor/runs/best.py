"""The best checkpoint of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rm_monitor.checkpoints.keeper import Keeper
from rm_monitor.runs.read import folder_of

__all__ = ["best_of"]


def best_of(folder: str | Path) -> dict[str, Any] | None:
    """``best.json`` of a run with the path of its weights; None if no best checkpoint is kept.

    Args:
        folder: The run's ``output_dir``, or its ``_rm_monitor`` folder.
    """
    keeper = Keeper(folder_of(folder))
    best = keeper.best()
    return None if best is None else {**keeper.facts(), "path": str(best[1])}
