"""ZeRO-3: a copy of the weights, gathered one parameter at a time, so that at most one is whole twice."""

from __future__ import annotations

from typing import Any

import torch

from rm_monitor.training.sharded.twin import twin

__all__ = ["gathered"]


def gathered(module: Any) -> Any:
    """A twin with whole weights. A collective: each parameter is gathered, copied and let go.

    Raises:
        Exception: What failed in this process, after it took part in every gather: the others need it there.
    """
    import deepspeed  # noqa: PLC0415

    weights: dict[int, Any] = {}
    error: Exception | None = None
    for part in module.modules():
        for p in dict.values(part._parameters):
            if p is None or id(p) in weights or not hasattr(p, "ds_tensor"):
                continue
            weights[id(p)] = None
            with deepspeed.zero.GatheredParameters([p]):
                try:
                    if error is None:
                        weights[id(p)] = torch.nn.Parameter(p.data.detach().clone(), requires_grad=False)
                except Exception as problem:
                    error = problem
    if error is not None:
        raise error
    return twin(
        module, lambda part: {name: weights.get(id(p), p) for name, p in dict.items(part._parameters)}
    )
