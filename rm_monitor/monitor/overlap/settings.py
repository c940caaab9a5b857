"""Settings of torch that numbers depend on, taken over from the trainer."""

from __future__ import annotations

from operator import attrgetter
from typing import Any

import torch

__all__ = ["settings", "take_over"]

_ATTENTION = ("flash", "mem_efficient", "math", "cudnn")
_FLOAT32 = (  # whose products of float32 are rounded first; the general ones before those that follow them
    "",
    "mkldnn",
    "mkldnn.matmul",
    "mkldnn.conv",
    "mkldnn.rnn",
    "cuda.matmul",
    "cudnn",
    "cudnn.conv",
    "cudnn.rnn",
)


def settings() -> dict[str, Any]:
    """As they stand in this process."""
    cuda: Any = torch.backends.cuda
    return {
        "threads": torch.get_num_threads(),  # sums come out otherwise with another number
        "dtype": torch.get_default_dtype(),
        "precision": _precision_by_its_old_name(),
        "float32": [_float32(name).fp32_precision for name in _FLOAT32],
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "attention": [getattr(cuda, f"{name}_sdp_enabled")() for name in _ATTENTION],
    }


def take_over(given: dict[str, Any], device: str) -> None:
    """Set them here; new models go to this device."""
    cuda: Any = torch.backends.cuda
    torch.set_num_threads(given["threads"])
    torch.set_default_dtype(given["dtype"])
    if given["precision"] is not None:
        torch.set_float32_matmul_precision(given["precision"])
    for name, precision in zip(_FLOAT32, given["float32"], strict=True):
        if _float32(name).fp32_precision != precision:  # once set so, the old name cannot be read any more
            _float32(name).fp32_precision = precision
    torch.use_deterministic_algorithms(given["deterministic"])
    for name, on in zip(_ATTENTION, given["attention"], strict=True):
        getattr(cuda, f"enable_{name}_sdp")(on)
    if torch.device(device).type == "cuda":
        torch.cuda.set_device(device)


def _float32(name: str) -> Any:
    """Where torch keeps the precision of these products."""
    return attrgetter(name)(torch.backends) if name else torch.backends


def _precision_by_its_old_name() -> str | None:
    """None: it was set by its new names (``tf32=True`` of a Trainer), and torch refuses to read the old."""
    try:
        return torch.get_float32_matmul_precision()
    except RuntimeError:
        return None
