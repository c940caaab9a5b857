"""What a PEFT model trains, as it was at step 0: kept beside the run, for whoever goes on with it.

A resumed run and a second process (`overlap`) meet the model when it has moved already, and an adapter that
training continues is not nought with its adapters off.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

__all__ = ["forget", "keep", "kept"]

log = logging.getLogger("rm_monitor")

_FILE = "initial-adapter.safetensors"


def keep(folder: Path, values: Mapping[str, Tensor]) -> None:
    """Write the values; a disk that refuses is said, and costs a resumed run its KL."""
    from safetensors.torch import save_file  # noqa: PLC0415  beside transformers wherever adapters are

    unfinished = folder / f".{_FILE}.tmp"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        save_file({name: value.detach().cpu().contiguous() for name, value in values.items()}, unfinished)
        with unfinished.open("rb") as file:
            os.fsync(file.fileno())
        unfinished.replace(folder / _FILE)
    except OSError as problem:
        log.warning(
            "rm_monitor: the initial adapters are not kept, for a resume to compare with: %s", problem
        )


def kept(folder: Path, policy: Any) -> dict[str, Tensor] | None:
    """What was kept of this model; None if nothing was, or it is of another one."""
    from safetensors import SafetensorError  # noqa: PLC0415
    from safetensors.torch import load_file  # noqa: PLC0415

    path = folder / _FILE
    if not path.is_file():
        return None
    try:
        found = load_file(path)
    except (OSError, SafetensorError) as problem:
        log.warning("rm_monitor: %s cannot be read: %s", path, problem)
        return None
    here = {name: p.shape for name, p in policy.named_parameters()}  # a second process trains none of them
    trained = {name for name, p in policy.named_parameters() if p.requires_grad}
    if not found or trained - found.keys() or any(here.get(n) != v.shape for n, v in found.items()):
        log.warning("rm_monitor: %s holds the adapters of another model", path)
        return None
    return dict(found)


def forget(folder: Path) -> None:
    """Delete what an earlier run in this folder kept."""
    (folder / _FILE).unlink(missing_ok=True)
