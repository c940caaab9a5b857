"""What is trained, how, and since when: for people who read of a run later. No number depends on it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rm_monitor.files.strict_json import read_object
from rm_monitor.training.unwrap import unwrap

__all__ = ["begun", "described"]

#: Names of the Trainer's arguments that people ask for first, and values not worth telling.
_ARGUMENTS: Mapping[str, tuple[Any, ...]] = {
    "learning_rate": (),
    "per_device_train_batch_size": (),
    "gradient_accumulation_steps": (1,),
    "num_train_epochs": (),
    "max_steps": (-1, 0),
    "beta": (),
    "seed": (),
}


def described(model: Any, arguments: Any = None) -> dict[str, Any]:
    """The policy's name, and the Trainer's settings that people ask for first; what is not known is left out.

    Args:
        model: The policy, wrapped or not; None where a server answers.
        arguments: The Trainer's; None in a hand-written loop.

    Example:
        >>> from types import SimpleNamespace
        >>> described(None, SimpleNamespace(learning_rate=2e-5, max_steps=-1))
        {'training': {'learning_rate': 2e-05}}
    """
    found: dict[str, Any] = {}
    if model is not None:
        inner = unwrap(model)
        name = str(getattr(getattr(inner, "config", None), "_name_or_path", "") or "").rstrip("/")
        found["model"] = (Path(name).name if Path(name).is_dir() else name) or type(inner).__name__
    given = {name: getattr(arguments, name, None) for name in _ARGUMENTS}
    settings = {
        name: value
        for name, value in given.items()
        if isinstance(value, int | float) and value not in _ARGUMENTS[name]
    }
    return {**found, "training": settings} if settings else found


def begun(folder: Path, *, resumed: bool) -> str:
    """When a run began, in words; one that is resumed began when it first did."""
    if resumed:
        try:
            return str(read_object(folder / "manifest.json")["begun"])
        except (OSError, ValueError, KeyError):
            pass
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
