"""A reward model is run in evaluation mode, without gradients, in its own dtype; nothing global changes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

import torch
import transformers

from rm_monitor.packed.precision import float32_products

__all__ = ["frozen", "library_versions"]


@contextmanager
def frozen(*modules: Any, device: torch.device) -> Iterator[None]:
    """Run modules as fixed functions.

    Evaluation mode is forced each time and not put back: a Trainer may have called ``train()`` on a parent.
    Autocast is switched off, or a training loop's bfloat16 region would decide the dtype of the scores.
    """
    for module in modules:
        module.eval()
    with torch.no_grad(), torch.autocast(device.type, enabled=False):
        yield


def library_versions(device: torch.device) -> dict[str, str]:
    """Versions and switches that have changed scores before."""
    facts = {
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "matmul": float32_products(device),
        "deterministic": str(torch.are_deterministic_algorithms_enabled()),
    }
    if device.type == "cuda":
        facts["convolutions"] = str(torch.backends.cudnn.conv.fp32_precision)  # type: ignore[attr-defined]
        facts["flash_attn"] = version("flash_attn") if find_spec("flash_attn") else "none"
    return facts
