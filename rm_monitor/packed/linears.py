"""Linear layers with their weights in oneDNN's own order, for as long as an evaluation lasts (CPU only).

Decoding multiplies few rows by large matrices, and most of that is reading them: weights that lie in the
order in which the kernel reads them are 1.1 to 1.5 times faster. Scoring multiplies many rows, and gains a
tenth. The packed weights are copies: the model's are not touched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["packed_linears"]


@contextmanager
def packed_linears(model: nn.Module, limit: int) -> Iterator[int]:
    """Inside, plain linears on the CPU run packed; gives how many. Their forwards come back whatever happens.

    Args:
        model: Any model.
        limit: Bytes that all copies together may take; a model that needs more is left as it is.
    """
    linears: list[Any] = [m for m in model.modules() if _is_plain(m)]
    fits = sum(m.weight.numel() * m.weight.element_size() for m in linears) <= limit
    if not linears or not fits or not _works(linears[0]):
        yield 0
        return
    done: list[Any] = []
    try:
        for linear in linears:
            linear.forward = _packed(linear)
            done.append(linear)
        yield len(done)
    finally:
        for linear in done:
            del linear.forward  # the class's is there again


def _is_plain(module: Any) -> bool:
    """Exactly `nn.Linear`: wrapped, quantised and hooked ones do more than multiply."""
    return (
        type(module) is nn.Linear
        and "forward" not in vars(module)
        and module.weight.device.type == "cpu"
        and module.weight.dtype in (torch.float32, torch.bfloat16)
        and type(module.weight) is nn.Parameter
        and not (module._forward_hooks or module._forward_pre_hooks)
    )


def _works(linear: Any) -> bool:
    """These operators are private to torch: they must be there, and say what the plain ones say."""
    if not torch._C._has_mkldnn or torch.is_autocast_enabled("cpu"):
        return False
    if linear.weight.dtype == torch.bfloat16 and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return False
    x = torch.linspace(-1, 1, 3 * linear.in_features).view(3, -1).to(linear.weight.dtype)
    try:
        with torch.no_grad():
            found, expected = _packed(linear)(x).float(), linear(x).float()
    except (AttributeError, RuntimeError):
        return False
    scale = float(expected.abs().max())
    return bool((found - expected).abs().max() <= 64 * torch.finfo(linear.weight.dtype).eps * scale)


def _packed(linear: Any) -> Callable[[Tensor], Tensor]:
    weight: Tensor | None = None  # made when it is first read: under mixed precision it never is
    bias = None if linear.bias is None else linear.bias.detach()
    plain = nn.functional.linear

    def forward(x: Tensor) -> Tensor:
        nonlocal weight
        if x.numel() == 0 or x.dtype != linear.weight.dtype or torch.is_autocast_enabled("cpu"):
            return plain(x, linear.weight, linear.bias)
        if weight is None:
            weight = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach())
        out: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
        return out

    return forward
