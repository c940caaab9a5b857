"""Generating with the sharded model itself, for those who asked: less memory, but no failure is survived."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

from rm_monitor.errors import GenerationError
from rm_monitor.training.sharded.setup import Setup

__all__ = ["in_step", "kept_sharded"]


@contextmanager
def kept_sharded(module: Any, setup: Setup) -> Iterator[Any]:
    """The sharded module; every rank must make the same number of ``generate`` calls inside.

    transformers' ``generate`` goes on until the slowest rank is done (``synced_gpus``), which it turns on
    by itself
    for FSDP and ZeRO-3.
    """
    with ExitStack() as stack:
        if setup.kind == "fsdp1":
            from torch.distributed.fsdp import FullyShardedDataParallel as FSDP  # noqa: PLC0415

            # generate() is the inner module's, so the root's own weights are not gathered by the root's
            # forward
            stack.enter_context(FSDP.summon_full_params(module, recurse=False, writeback=False))
        before = vars(module).get("generate")
        module.__dict__["generate"] = partial(_not_halved, module.generate)
        try:
            yield module
        finally:
            if before is None:
                del module.__dict__["generate"]
            else:
                module.__dict__["generate"] = before


def in_step(module: Any) -> bool:
    """Whether every forward of this module is one of all ranks together: each must make equally many."""
    return getattr(vars(module).get("generate"), "func", None) is _not_halved


def _not_halved(generate: Any, *args: Any, **kwargs: Any) -> Any:
    """A smaller batch on one rank alone would be a different number of calls: that is no way out here."""
    import torch  # noqa: PLC0415

    try:
        return generate(*args, **kwargs)
    except torch.OutOfMemoryError as problem:
        raise GenerationError(
            "out of memory while generating with sharded weights: give a smaller batch, "
            "generator=HFGenerator(batch_size=...), or leave sharded_weights='gather'"
        ) from problem
