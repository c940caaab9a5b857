"""One vLLM engine inside the training process: started once, and nothing of the process is left changed."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from rm_monitor.errors import GenerationError
from rm_monitor.generators.engine.scope import base_of
from rm_monitor.packed.memory import free_memory, give_back
from rm_monitor.training.unwrap import unwrap

__all__ = ["INSTALL", "refresh", "start"]

INSTALL = "`pip install vllm`, or leave `generator` out, and the engine of this package answers"

# Weights are passed by reference, so the engine must be in this process. Its threads are training's.
_ENVIRONMENT = {"VLLM_ENABLE_V1_MULTIPROCESSING": "0"}
_UNLESS_SET = {"VLLM_CPU_OMP_THREADS_BIND": "nobind", "VLLM_LOGGING_LEVEL": "ERROR"}
_SPARE = 0.9  # of what the driver says is free: what vLLM asks for before it starts


def start(
    model: Any, dtype: torch.dtype, *, memory: int | None, ranks: int, options: Mapping[str, Any]
) -> tuple[Any, Any]:
    """A ``vllm.LLM`` for models of this architecture, its weights still to come, and what it must outlive.

    Args:
        model: The policy; only its configuration is read.
        dtype: What it computes in.
        memory: Bytes for keys and values; None: a quarter of what is free.
        ranks: Processes that start one together.
        options: Arguments of ``vllm.LLM`` that go before ours.

    Raises:
        GenerationError: If vLLM is not installed or refuses the model, with its words.
    """
    inner = base_of(unwrap(model))
    device = next(inner.parameters()).device
    folder = tempfile.TemporaryDirectory(prefix="rm-monitor-vllm-")
    config = type(inner.config).from_dict(inner.config.to_dict())
    config.architectures = [type(inner).__name__]
    config.save_pretrained(folder.name)
    give_back(device)  # vLLM asks the driver, and training's allocator holds what it does not use
    with _unchanged():
        try:
            from vllm import LLM  # noqa: PLC0415  seconds, and only where it is asked for
            from vllm.platforms import current_platform  # noqa: PLC0415
        except Exception as problem:  # a build for other hardware fails with whatever it likes
            raise GenerationError(
                f"vLLM cannot be imported here ({type(problem).__name__}: {problem}): {INSTALL}"
            ) from problem
        settings = {
            "model": folder.name,
            "load_format": "dummy",
            "skip_tokenizer_init": True,
            "generation_config": "vllm",  # the model's own has sampling defaults
            "dtype": str(dtype).removeprefix("torch."),
            "max_model_len": -1,  # what fits
            "kv_cache_memory_bytes": memory if memory is not None else free_memory(device),
            "enforce_eager": device.type == "cpu",
            "enable_sleep_mode": bool(current_platform.is_sleep_mode_available()),
            "seed": 0,
            "disable_log_stats": True,
            **_share_of(device),
            **({"distributed_executor_backend": "external_launcher"} if ranks > 1 else {}),
            **options,
        }
        try:
            return LLM(**settings), folder
        except Exception as problem:
            raise GenerationError(
                f"vLLM does not serve this {type(inner).__name__} ({type(problem).__name__}: {problem}): "
                "pass its own options in generator={'vllm': {...}}, or leave `generator` out"
            ) from problem


def refresh(network: Any) -> int:
    """Pack the heads anew that share a weight with the embeddings; gives how many there were.

    On a CPU vLLM multiplies by packed copies, and its reload packs a layer when weights with its name come.
    A tied head has none, so it would go on multiplying by the weights before.
    """
    seen: dict[int, Any] = {}
    packed = 0
    for module in network.modules():
        weight = getattr(module, "weight", None)
        if not isinstance(weight, torch.Tensor) or weight.numel() == 0:
            continue
        first = seen.setdefault(weight.data_ptr(), module)
        if first is not module and hasattr(module, "cpu_linear"):
            module.quant_method.process_weights_after_loading(module)
            packed += 1
    return packed


def _share_of(device: torch.device) -> dict[str, float]:
    """A share of the whole card: where less than it is free, vLLM refuses to start."""
    if device.type == "cpu":
        return {}
    free, total = torch.get_device_module(device.type).mem_get_info(device)
    return {"gpu_memory_utilization": round(_SPARE * free / total, 3)}


@contextmanager
def _unchanged() -> Iterator[None]:
    """What vLLM sets for the whole process comes back, also when it fails."""
    given = {**_ENVIRONMENT, **{name: os.environ.get(name, value) for name, value in _UNLESS_SET.items()}}
    before = {name: os.environ.get(name) for name in given}
    set_threads = torch.set_num_threads  # its CPU worker replaces it by one that does nothing
    os.environ.update(given)
    try:
        yield
    finally:
        torch.set_num_threads = set_threads
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
