"""What kind of distributed model this is, in a word for the code and in words for people; or a refusal."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from rm_monitor.errors import UnsupportedSetupError
from rm_monitor.training.unwrap import unwrap

__all__ = ["Forward", "Kind", "Setup", "describe"]

Kind: TypeAlias = Literal["plain", "ddp", "fsdp1", "fsdp2", "zero3"]
Forward: TypeAlias = Literal["whole", "sharded"]

_WORDS: dict[str, str] = {
    "plain": "the model as it is",
    "ddp": "the model inside its wrapper: every rank has whole weights",
    "fsdp1": "a whole copy of the FSDP model's weights on every rank during an evaluation",
    "fsdp2": "the FSDP2 model's weights unsharded on every rank during an evaluation",
    "zero3": "a whole copy of the ZeRO-3 model's weights on every rank during an evaluation",
}
_SHARDED_WORDS = (
    "the sharded model itself: every forward gathers weights, so all ranks generate in step, and a "
    "rank that fails "
    "ends the job"
)
_WAY_OUT = "Evaluate the saved checkpoints instead: rm-monitor sweep OUTPUT_DIR (or watch, while it trains)"
_QUANTIZED = ("Params4bit", "Int8Params")


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """How the model is spread over processes.

    Attributes:
        kind: ``plain``, ``ddp`` (also ZeRO-1 and ZeRO-2: weights are whole), ``fsdp1``, ``fsdp2``, ``zero3``.
        forward: ``whole``: generate with whole weights; ``sharded``: with the sharded model, because it
        was asked for.
        compiled: Parts are compiled in place: they are gone around, so that no recompilation reaches
        training.
    """

    kind: Kind = "plain"
    forward: Forward = "whole"
    compiled: bool = False

    @property
    def collective(self) -> bool:
        """Whether making a module to generate with needs every rank."""
        return self.kind in ("fsdp1", "fsdp2", "zero3")

    def __str__(self) -> str:
        return _SHARDED_WORDS if self.forward == "sharded" else _WORDS[self.kind]


def describe(model: Any, *, sharded_forward: bool = False) -> Setup:
    """What kind of model the Trainer holds.

    Args:
        model: Any wrapper around it, or the model itself; None: nothing is held in this process.
        sharded_forward: Generate with the sharded model where its weights are sharded.

    Raises:
        UnsupportedSetupError: If it cannot be served safely; the message has the way out.

    Example:
        >>> import torch
        >>> str(describe(torch.nn.Linear(2, 2)))
        'the model as it is'
    """
    if model is None or not hasattr(model, "modules"):
        return Setup()
    module = unwrap(model)
    wrapped = module is not getattr(model, "_orig_mod", model)
    _refuse_parallelism()
    names = {base.__name__ for part in module.modules() for base in type(part).__mro__}
    _refuse_pipelines(names)
    parameters = list(_own_parameters(module))
    compiled = _is_compiled(module)
    if "FullyShardedDataParallel" in names:
        kind: Kind = "fsdp1"
        _refuse_offloaded_fsdp1(module)
    elif any(hasattr(p, "ds_tensor") for p in parameters):
        kind = "zero3"
        _refuse_offloaded_zero3(parameters)
    elif "FSDPModule" in names:
        kind = "fsdp2"
        _refuse_split_weights(parameters, shards=1)
    else:
        _refuse_split_weights(parameters, shards=0)
        return Setup(kind="ddp" if wrapped else "plain", compiled=compiled)
    quantized = next((type(p).__name__ for p in parameters if type(p).__name__ in _QUANTIZED), None)
    if quantized is not None:
        raise UnsupportedSetupError(
            f"the model is sharded and quantised ({quantized}), which nobody has measured. {_WAY_OUT}"
        )
    return Setup(kind=kind, forward="sharded" if sharded_forward else "whole", compiled=compiled)


def _own_parameters(module: Any) -> Iterator[Any]:
    """Without asking DeepSpeed's dictionaries for values: that would gather."""
    for part in module.modules():
        yield from (p for p in dict.values(part._parameters) if p is not None)


def _is_compiled(module: Any) -> bool:
    return any(
        part._compiled_call_impl is not None
        or "_orig_mod" in part._modules
        or hasattr(vars(part).get("forward"), "_torchdynamo_orig_callable")
        for part in module.modules()
    )


# --------------------------------------------------------------------------- what is refused, and the way out


def _refuse_parallelism() -> None:
    """Accelerate knows of forwards that ranks must enter together with the same prompt."""
    state = sys.modules.get("accelerate.state")
    config = None if state is None else state.AcceleratorState._shared_state.get("parallelism_config")
    for name, what in (("tp", "tensor"), ("cp", "context"), ("sp", "sequence")):
        if config is not None and getattr(config, f"{name}_enabled", False):
            raise UnsupportedSetupError(
                f"{what} parallelism ({name}_size={getattr(config, f'{name}_size', '?')}) splits "
                f"every forward over "
                f"ranks, so each must answer the same prompts at the same time. {_WAY_OUT}"
            )


def _refuse_pipelines(names: set[str]) -> None:
    found = sorted(names & {"PipelineModule", "PipelineStage", "PipelineEngine", "MegatronEngine"})
    if found:
        raise UnsupportedSetupError(
            f"{found[0]}: with pipeline parallelism no rank has a module that can generate. {_WAY_OUT}"
        )


def _refuse_split_weights(parameters: Iterable[Any], *, shards: int) -> None:
    """More than the data-parallel sharding: the layers themselves are split (tensor parallelism)."""
    for p in parameters:
        placements = getattr(p, "placements", None)
        if placements is not None and sum(not x.is_replicate() for x in placements) > shards:
            raise UnsupportedSetupError(
                f"weights are split by tensor parallelism (placements {tuple(placements)}): every "
                f"forward needs all "
                f"ranks of a group with the same prompts. {_WAY_OUT}"
            )
        device_type = getattr(getattr(p, "device_mesh", None), "device_type", None)
        if device_type is not None and p.device.type not in (device_type, "meta"):
            raise UnsupportedSetupError(
                f"FSDP2 offloads weights to {p.device.type}, which nobody has measured. {_WAY_OUT}"
            )


def _refuse_offloaded_fsdp1(module: Any) -> None:
    for part in module.modules():
        if getattr(getattr(part, "cpu_offload", None), "offload_params", False):
            raise UnsupportedSetupError(
                f"FSDP offloads weights (cpu_offload=True), so whole copies would lie on the CPU. {_WAY_OUT}"
            )


def _refuse_offloaded_zero3(parameters: Iterable[Any]) -> None:
    for p in parameters:
        shard = getattr(p, "ds_tensor", None)
        place = getattr(shard, "final_location", None)
        if shard is not None and (place is not None or shard.device.type != p.device.type):
            raise UnsupportedSetupError(
                f"ZeRO-3 offloads weights (offload_param, device {place or shard.device.type!r}), "
                f"so gathering "
                f"them at every evaluation would stall training. {_WAY_OUT}"
            )
