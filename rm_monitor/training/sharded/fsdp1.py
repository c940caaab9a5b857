"""FSDP1: a copy of the weights, filled unit by unit, so that at most one unit is whole twice."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from rm_monitor.training.sharded.twin import own_modules, twin

__all__ = ["copied"]


def copied(module: Any) -> Any:
    """A twin with whole weights in the dtype that the forward computes in. A collective.

    Raises:
        Exception: What failed in this process, after it took part in every gather: the others need it there.
    """
    from torch.distributed.fsdp import FullyShardedDataParallel as FSDP  # noqa: PLC0415

    units = FSDP.fsdp_modules(module)
    weights: dict[int, dict[str, Any]] = {}
    error: Exception | None = None
    for unit in units:
        with FSDP.summon_full_params(unit, recurse=False, writeback=False):
            try:
                if error is None:
                    weights.update(_copies(unit, FSDP))
            except Exception as problem:
                error = problem
    if error is not None:
        raise error
    return twin(module, lambda part: weights[id(part)])


def _copies(unit: Any, kind: type) -> Iterator[tuple[int, dict[str, Any]]]:
    dtype = getattr(unit.mixed_precision, "param_dtype", None)
    seen: dict[int, Any] = {}  # tied weights stay tied
    for part in own_modules(unit._fsdp_wrapped_module, kind):
        own: dict[str, Any] = {}
        for name, p in part._parameters.items():
            if p is not None and id(p) not in seen:
                whole = p.detach().clone() if dtype is None else p.detach().to(dtype, copy=True)
                seen[id(p)] = torch.nn.Parameter(whole, requires_grad=False)
            own[name] = None if p is None else seen[id(p)]
        yield id(part), own
