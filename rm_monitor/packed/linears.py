"""Linear layers whose weights are prepared once, for as long as an evaluation lasts.

Decoding multiplies few rows by large matrices, and most of that is reading them. On a CPU weights that lie in
the order in which oneDNN reads them are 1.1 to 1.5 times faster; scoring multiplies many rows, and gains a
tenth. Under mixed precision a weight is cast once instead of in every forward; where torch's own cache of
casts does that (off the CPU, weights that learn), it is left to it. What is prepared is a copy: the model's
weights are not touched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from rm_monitor.packed.precision import product_eps

__all__ = ["packed_linears"]


@contextmanager
def packed_linears(model: nn.Module, limit: int, dtype: torch.dtype | None = None) -> Iterator[int]:
    """Inside, plain linears run prepared; gives how many. Their forwards come back whatever happens.

    Args:
        model: Any model.
        limit: Bytes that all copies together may take; a model that needs more is left as it is.
        dtype: What mixed precision computes in, where the model runs under it; None: in its weights' own.
    """
    linears: list[Any] = [m for m in model.modules() if _is_plain(m, dtype)]
    fits = sum(m.weight.numel() * (dtype or m.weight.dtype).itemsize for m in linears) <= limit
    if not linears or not fits or not _works(min(linears, key=_size), dtype):
        yield 0
        return
    done: list[Any] = []
    cast = _LastCast()
    try:
        for linear in linears:
            linear.forward = _prepared(linear, dtype, cast)
            done.append(linear)
        yield len(done)
    finally:
        for linear in done:
            del linear.forward  # the class's is there again


def _is_plain(module: Any, dtype: torch.dtype | None) -> bool:
    """Exactly `nn.Linear`: wrapped, quantised and hooked ones do more than multiply."""
    return (
        type(module) is nn.Linear
        and "forward" not in vars(module)
        and module.weight.dtype in (torch.float32, torch.bfloat16)
        and type(module.weight) is nn.Parameter
        and (module.weight.device.type == "cpu" or _is_cast_each_time(module.weight, dtype))
        and not (module._forward_hooks or module._forward_pre_hooks)
    )


def _size(linear: Any) -> int:
    return int(linear.weight.numel())


def _is_cast_each_time(weight: Tensor, dtype: torch.dtype | None) -> bool:
    """Mixed precision keeps no cast of a weight that does not learn: the base under an adapter."""
    return dtype not in (None, weight.dtype) and not weight.requires_grad


def _works(linear: Any, dtype: torch.dtype | None) -> bool:
    """Whether the prepared one says what the plain one says: oneDNN's operators are private to torch."""
    weight, kind = linear.weight, linear.weight.device.type
    if torch.is_autocast_enabled(kind) != (dtype is not None):
        return False
    computed = dtype or weight.dtype
    if kind == "cpu":
        if computed not in (torch.float32, torch.bfloat16) or not torch._C._has_mkldnn:
            return False
        if computed == torch.bfloat16 and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
            return False
    x = torch.linspace(-1, 1, 3 * linear.in_features, device=weight.device).view(3, -1).to(weight.dtype)
    try:
        with torch.no_grad():
            found, expected = _prepared(linear, dtype)(x).float(), linear(x).float()
    except (AttributeError, RuntimeError):
        return False
    eps = max(torch.finfo(computed).eps, product_eps(weight.device))
    return bool((found - expected).abs().max() <= 64 * eps * float(expected.abs().max()))


class _LastCast:
    """What was cast last: queries, keys and values are three linears of one input."""

    def __init__(self) -> None:
        self._given: Tensor | None = None
        self._version = 0
        self._made: Tensor | None = None

    def __call__(self, x: Tensor, dtype: torch.dtype) -> Tensor:
        """The tensor in this dtype; made once while the same one is given and nobody writes into it."""
        if x.dtype == dtype:
            return x
        if x.is_inference():  # no count of what was written into it
            return x.to(dtype)
        made = self._made
        if made is None or x is not self._given or x._version != self._version or made.dtype != dtype:
            self._given, self._version, self._made = x, x._version, (made := x.to(dtype))
        return made


def _prepared(
    linear: Any, dtype: torch.dtype | None, cast: Callable[[Tensor, torch.dtype], Tensor] = Tensor.to
) -> Callable[[Tensor], Tensor]:
    weight: Tensor | None = None  # made when it is first read
    kind, computed = linear.weight.device.type, dtype or linear.weight.dtype
    bias = None if linear.bias is None else linear.bias.detach().to(computed)
    plain = nn.functional.linear

    def forward(x: Tensor) -> Tensor:
        nonlocal weight
        mixed = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype
        if x.numel() == 0:  # a chunk of a prompt that no answer begins after
            return x.new_zeros((*x.shape[:-1], linear.out_features), dtype=mixed)
        if mixed != computed:
            return plain(x, linear.weight, linear.bias)
        x = cast(x, computed)
        if kind != "cpu":
            weight = linear.weight.detach().to(computed) if weight is None else weight
            return plain(x, weight, bias)
        if weight is None:
            weight = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach().to(computed))
        out: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
        return out

    return forward
