"""In which numbers a model computes, known before an evaluation and kept for the whole of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["computing", "float32_products", "mixed_precision", "one_precision", "product_eps"]

# Mixed precision keeps what it has cast until its outermost context ends. Trainers enter one a forward, so
# every decode step would cast every weight again.


class _Seen(Exception):
    """The forward has told what there was to tell."""


def mixed_precision(model: Any) -> torch.dtype | None:
    """The dtype of the autocast that the model's forward runs in (``bf16=True`` of a trainer); None: none.

    The forward is entered and left again at its embeddings: nothing is computed.

    Args:
        model: A transformers model, also inside PEFT's wrapper; what hangs there decides.
    """
    if not any("forward" in vars(m) for m in model.modules()):
        return None  # nobody hung anything around it
    embeddings = [m for m in model.modules() if isinstance(m, nn.Embedding)]
    if not embeddings or not all(_is_whole(m.weight) for m in embeddings):
        return None
    device, found = embeddings[0].weight.device, []
    kind = device.type

    def note(*_: object) -> None:
        found.append(torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else None)
        raise _Seen

    hooks = [m.register_forward_pre_hook(note) for m in embeddings]
    try:
        with torch.no_grad():
            model(input_ids=torch.zeros(1, 1, dtype=torch.int64, device=device))
    except Exception:
        pass  # ours, or that of a forward that takes something else than ids
    finally:
        for hook in hooks:
            hook.remove()
    return found[0] if found else None


def _is_whole(weight: Any) -> bool:
    """A forward that is left half-way would leave a sharded weight gathered."""
    return type(weight) is nn.Parameter and weight.numel() > 0 and not hasattr(weight, "ds_id")


@contextmanager
def one_precision(model: Any) -> Iterator[torch.dtype | None]:
    """Inside, what mixed precision casts is cast once; gives its dtype, None without mixed precision.

    The numbers are those of the model's own contexts, which lie inside this one. `undisturbed` clears what
    was kept, so that training casts the weights that it has then.
    """
    dtype = mixed_precision(model)
    if dtype is None:
        yield None
        return
    with torch.autocast(next(model.parameters()).device.type, dtype=dtype, cache_enabled=True):
        yield dtype


def computing(given: Tensor) -> torch.dtype:
    """The dtype in which attention reads this tensor: its own, or that of the autocast around it."""
    kind = given.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else given.dtype


def float32_products(device: torch.device) -> str:
    """To what the factors of a float32 product are rounded first: ``ieee`` (not at all), ``tf32``, ``bf16``.

    Read by the names that torch never refuses to read: ``tf32=True`` of a Trainer makes it refuse the others.
    """
    asked = "none"
    if device.type == "cpu":
        asked = torch.backends.mkldnn.matmul.fp32_precision  # type: ignore[attr-defined]
    elif device.type == "cuda":
        asked = torch.backends.cuda.matmul.fp32_precision
    return "ieee" if asked == "none" else asked


def product_eps(device: torch.device) -> float:
    """Rounding of the factors of a float32 product: TF32 and bfloat16 ones are asked for globally."""
    eps = {"tf32": 2.0**-10, "bf16": torch.finfo(torch.bfloat16).eps}
    return eps.get(float32_products(device), torch.finfo(torch.float32).eps)
