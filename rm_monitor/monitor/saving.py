"""The weights of a new best, written by the user's own function, and where those of step 0 lie."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rm_monitor.checkpoints.disk import problem
from rm_monitor.checkpoints.initial import holds, initial_checkpoint
from rm_monitor.messages.failures import FailureLog
from rm_monitor.training.ranks import Ranks

__all__ = ["SavesCheckpoint", "initial_weights", "save_best", "unfit"]

log = logging.getLogger("rm_monitor")

SavesCheckpoint = Callable[[Path], Any]


def save_best(
    folder: Path,
    step: int,
    save: SavesCheckpoint,
    ranks: Ranks,
    failures: FailureLog,
    saved: Callable[[int, Path], None],
) -> None:
    """Let the user's function write the new best, on every rank, then keep it.

    Args:
        folder: Where our files lie.
        step: Optimizer step.
        save: Writes the weights into the folder that it is given.
        ranks: The processes of the run.
        failures: Where failures go; what cannot be written costs the checkpoint, not the run.
        saved: Told where the weights lie.
    """
    target = folder / "saved" / f"step-{step}"
    error: Exception | None = None
    try:
        if ranks.is_first:
            target.mkdir(parents=True, exist_ok=True)
        save(target)
    except Exception as problem:
        error = problem
        failures("save", f"`save` failed at step {step}", problem)
    ranks.agree(None, error)  # every rank has written before rank 0 links
    saved(step, target)
    if ranks.is_first:  # linked by now; a link costs nothing, a second copy would
        shutil.rmtree(target.parent, ignore_errors=True)


def unfit(folder: Path, model: Any) -> str:
    """Why what the Trainer has just saved is not what was judged; empty: it is, or that cannot be told."""
    try:
        if not folder.is_dir():
            return f"it is not in {folder}"
        if problem(folder) is None and holds(folder, model) is False:
            return f"{folder} holds other weights than were judged: something wrote over it"
    except Exception as why:  # a disk that is away, a file of a kind we do not read: nothing is known
        log.warning("rm_monitor: whether %s holds what was judged cannot be told: %s", folder, why)
    return ""


def initial_weights(model: Any, failures: FailureLog) -> Path | None:
    """Where the weights that training starts from lie; None if that cannot be told."""
    try:
        return initial_checkpoint(model)
    except Exception as problem:
        failures("initial", "the initial weights were not found on disk", problem)
        return None
