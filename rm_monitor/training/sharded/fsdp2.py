"""FSDP2: every unit unsharded while the body runs; the twin uses those very weights, so nothing is copied."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rm_monitor.training.sharded.twin import own_modules, twin

__all__ = ["unsharded"]


@contextmanager
def unsharded(module: Any) -> Iterator[Any]:
    """Gather all weights (a collective), let them go afterwards (local).

    A unit that this process gathered already before, as the root between forward and backward, stays as it
    was.
    """
    from torch.distributed.fsdp import FSDPModule  # noqa: PLC0415
    from torch.distributed.tensor import DTensor  # noqa: PLC0415

    units = [part for part in module.modules() if isinstance(part, FSDPModule)]
    was_sharded = [
        unit
        for unit in units
        if any(
            isinstance(p, DTensor)
            for part in own_modules(unit, FSDPModule)
            for p in part._parameters.values()
        )
    ]
    try:
        for unit in was_sharded:
            unit.unshard()
        yield twin(module)
    finally:
        for unit in was_sharded:
            unit.reshard()
