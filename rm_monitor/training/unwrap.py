"""The module below the wrappers that engines put around it."""

from __future__ import annotations

from typing import Any

__all__ = ["unwrap"]


def unwrap(model: Any) -> Any:
    """The module below DDP, DataParallel, DeepSpeed's engine and torch.compile; sharded modules stay.

    Example:
        >>> import torch
        >>> linear = torch.nn.Linear(2, 2)
        >>> unwrap(torch.nn.DataParallel(linear)) is linear
        True
    """
    while True:
        inner = getattr(model, "_orig_mod", None)
        if inner is None and type(model).__name__ in (
            "DistributedDataParallel",
            "DataParallel",
            "DeepSpeedEngine",
        ):
            inner = model.module
        if inner is None:
            return model
        model = inner
