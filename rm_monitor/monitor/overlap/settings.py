"""Settings of torch that numbers depend on, taken over from the trainer."""

from __future__ import annotations

from typing import Any

import torch

__all__ = ["settings", "take_over"]

_ATTENTION = ("flash", "mem_efficient", "math", "cudnn")


def settings() -> dict[str, Any]:
    """As they stand in this process."""
    cuda: Any = torch.backends.cuda
    return {
        "threads": torch.get_num_threads(),  # sums come out otherwise with another number
        "dtype": torch.get_default_dtype(),
        "precision": torch.get_float32_matmul_precision(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "attention": [getattr(cuda, f"{name}_sdp_enabled")() for name in _ATTENTION],
    }


def take_over(given: dict[str, Any], device: str) -> None:
    """Set them here; new models go to this device."""
    cuda: Any = torch.backends.cuda
    torch.set_num_threads(given["threads"])
    torch.set_default_dtype(given["dtype"])
    torch.set_float32_matmul_precision(given["precision"])
    torch.use_deterministic_algorithms(given["deterministic"])
    for name, on in zip(_ATTENTION, given["attention"], strict=True):
        getattr(cuda, f"enable_{name}_sdp")(on)
    if torch.device(device).type == "cuda":
        torch.cuda.set_device(device)
