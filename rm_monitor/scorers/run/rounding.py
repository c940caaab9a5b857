"""What half precision does to a score: the same inputs read once more with float32 weights and numbers."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rm_monitor.types import FloatArray

__all__ = ["computes_bfloat16", "in_float32", "rounding"]

log = logging.getLogger("rm_monitor")


def computes_bfloat16() -> bool:
    """Whether this CPU multiplies bfloat16 numbers itself: AVX512-BF16 or AMX; without, it is slower."""
    ask: Any = getattr(torch.cpu, "get_capabilities", None)
    if ask is None:  # an older torch has each under a name of its own
        names = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
        return any(call() for name in names if (call := getattr(torch.cpu, name, None)) is not None)
    found = ask()
    return bool(found.get("avx512_bf16") or found.get("amx_bf16"))


def rounding(model: nn.Module, scores: FloatArray, again: Callable[[], FloatArray], *, name: str) -> float:
    """By how much half precision moves a difference of two scores, both of which it rounds; 0 in float32.

    Args:
        model: The network.
        scores: ``(n,)`` as it is.
        again: The same inputs scored again.
        name: Of the scorer, for people.
    """
    if next(model.parameters()).dtype not in (torch.float16, torch.bfloat16):
        return 0.0
    try:
        with in_float32(model):
            error = scores - again()
    except RuntimeError as problem:
        log.warning(
            "rm_monitor: what %s rounds could not be measured (%s): ties are what batches change alone. Pass "
            "dtype='float32' to have none",
            *(name, problem),
        )
        return 0.0
    return max(0.0, float(np.nanmax(error, initial=-np.inf) - np.nanmin(error, initial=np.inf)))


@contextmanager
def in_float32(model: nn.Module) -> Iterator[None]:
    """Inside, a network in half precision computes in float32, one module's weights at a time.

    Afterwards the weights are the very tensors that they were.
    """
    with ExitStack() as after:
        for module in model.modules():
            own = [t for t in (*module._parameters.values(), *module._buffers.values()) if t is not None]
            if half := [t for t in own if t.dtype in (torch.float16, torch.bfloat16)]:
                wide = _Wide(half)
                after.callback(wide.end)  # also after a forward that failed
                after.callback(module.register_forward_pre_hook(wide.begin).remove)
                after.callback(module.register_forward_hook(wide.end).remove)
        yield


class _Wide:
    """A module's tensors, in float32 while its forward runs."""

    def __init__(self, tensors: list[Tensor]) -> None:
        self._tensors = tensors
        self._kept: list[Tensor] | None = None

    def begin(self, *_: object) -> None:
        """As what they hold now: weights may come for each scoring."""
        self._kept = [tensor.data for tensor in self._tensors]
        for tensor in self._tensors:
            tensor.data = tensor.data.float()

    def end(self, *_: object) -> None:
        """The same tensors again."""
        for tensor, data in zip(self._tensors, self._kept or (), strict=False):
            tensor.data = data
        self._kept = None
