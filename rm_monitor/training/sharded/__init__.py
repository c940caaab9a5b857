"""Models that several processes train together: a module to generate with, whose forward talks to nobody.

Generation must not contain collectives. Ranks finish at different lengths and one of them may fail; where
every
forward gathers weights, the others would wait for it until the job is killed. So `whole` gives each rank a
module
with whole weights for as long as an evaluation lasts:

==================  ==============================================================================
plain, DDP, ZeRO-1/2  the module itself, unwrapped: its weights are whole already
FSDP2 (fully_shard)   all units unsharded; a `twin` of the module tree uses those weights, no copy
FSDP1                 a `twin` with a copy, filled unit by unit
ZeRO-3                a `twin` with a copy, filled parameter by parameter
==================  ==============================================================================

What cannot be served so is refused by `describe`, before anything is trained (``docs/distributed.md``).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rm_monitor.training.sharded.setup import Setup, describe
from rm_monitor.training.unwrap import unwrap

__all__ = ["Setup", "describe", "whole"]


@contextmanager
def whole(model: Any, setup: Setup) -> Iterator[Any]:
    """A module to generate with; its forward has no collectives and compiles nothing.

    Entering is a collective where ``setup.collective``: every rank must enter, and goes through all
    gathers even if
    its own part fails on the way. Leaving is not: nothing has to be agreed to let the weights go.

    Args:
        model: What the Trainer holds.
        setup: What `describe` said of it.
    """
    module = unwrap(model)
    if setup.forward == "sharded":
        from rm_monitor.training.sharded.keep import kept_sharded  # noqa: PLC0415

        with kept_sharded(module, setup) as usable:
            yield usable
    elif setup.kind == "fsdp2":
        from rm_monitor.training.sharded.fsdp2 import unsharded  # noqa: PLC0415

        with unsharded(module) as usable:
            yield usable
    elif setup.kind == "fsdp1":
        from rm_monitor.training.sharded.fsdp1 import copied  # noqa: PLC0415

        yield copied(module)
    elif setup.kind == "zero3":
        from rm_monitor.training.sharded.zero3 import gathered  # noqa: PLC0415

        yield gathered(module)
    elif setup.compiled:
        from rm_monitor.training.sharded.twin import twin  # noqa: PLC0415

        yield twin(module)
    else:
        yield module
