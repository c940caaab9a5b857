"""`undisturbed`: whatever happens inside, training reads the same state afterwards.

Everything that an evaluation could change and that training reads is saved on entry and restored on exit,
also when the
body raises. What each line is for is in ``docs/design/undisturbed.md``.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch

__all__ = ["undisturbed"]

_MODULE = ("gradient_checkpointing", "_disable_adapters", "_active_adapter", "active_adapter")
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
_LEFT_BY_GENERATE = ("_cache", "_previous_max_cache_length", "_previous_cache_position")
_TOKENIZER = (
    "padding_side",
    "truncation_side",
    "pad_token",
    "eos_token",
    "chat_template",
    "model_max_length",
)


@contextmanager
def undisturbed(model: Any = None, tokenizer: Any = None, *, optimizer: Any = None) -> Iterator[None]:
    """Evaluate inside, train on outside as if nothing had happened.

    Inside, every module is in eval mode and no gradients are recorded.

    Args:
        model: The model being trained; None: only random states and global settings are kept.
        tokenizer: Its tokenizer.
        optimizer: A schedule-free optimizer, whose ``eval()`` weights are the ones to judge.

    Example:
        >>> model = torch.nn.Dropout(0.5)
        >>> state = torch.get_rng_state()
        >>> with undisturbed(model):
        ...     _ = torch.rand(3), model.training
        >>> model.training, bool((torch.get_rng_state() == state).all())
        (True, True)
    """
    with ExitStack() as after:
        for restore in _random_states():
            after.callback(restore)
        for restore in _global_settings():
            after.callback(restore)
        if model is not None:
            for restore in _model_state(model):
                after.callback(restore)
            model.eval()
        if tokenizer is not None:
            for restore in _tokenizer_state(tokenizer):
                after.callback(restore)
        if _keeps_other_weights(optimizer):
            optimizer.eval()
            after.callback(optimizer.train)
        with (
            torch.no_grad()
        ):  # not inference_mode: its tensors may stay in caches and break the next backward
            yield


def _keeps_other_weights(optimizer: Any) -> bool:
    """Whether a schedule-free optimizer holds its training weights now: then its others are to be judged."""
    inner = getattr(optimizer, "optimizer", optimizer)  # accelerate wraps it
    if not (callable(getattr(inner, "eval", None)) and callable(getattr(inner, "train", None))):
        return False
    return any(group.get("train_mode", True) for group in getattr(inner, "param_groups", [{}]))


def _random_states() -> Iterator[Callable[[], Any]]:
    python, numpy_state, cpu = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002  the global one
    yield lambda: random.setstate(python)
    yield lambda: np.random.set_state(numpy_state)  # noqa: NPY002
    yield lambda: torch.set_rng_state(cpu)
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        devices = torch.cuda.get_rng_state_all()
        yield lambda: torch.cuda.set_rng_state_all(devices)
    mps = getattr(torch.backends, "mps", None)
    if mps is not None and mps.is_available():
        state = torch.mps.get_rng_state()
        yield lambda: torch.mps.set_rng_state(state)


def _global_settings() -> Iterator[Callable[[], Any]]:
    dtype = torch.get_default_dtype()
    yield lambda: torch.set_default_dtype(dtype)
    threads = torch.get_num_threads()
    yield lambda: torch.set_num_threads(threads)  # sums come out otherwise with another number
    exact = torch.are_deterministic_algorithms_enabled()
    only_warns = torch.is_deterministic_algorithms_warn_only_enabled()
    yield lambda: torch.use_deterministic_algorithms(exact, warn_only=only_warns)
    for settings, name in _kernel_choices():  # another attention or convolution kernel rounds otherwise
        chosen = getattr(settings, name)
        yield partial(setattr, settings, name, chosen)
    for set_attention, attention in _attention_kernels():
        yield partial(set_attention, attention)
    yield torch.clear_autocast_cache  # weights cast inside must not be mistaken for fresh ones


def _model_state(model: Any) -> Iterator[Callable[[], Any]]:
    modes = [(module, module.training) for module in model.modules()]
    yield lambda: _set_modes(modes)
    buffers = [(module, name, b, b.detach().clone()) for module, name, b in _unsaved_buffers(model)]
    yield lambda: _set_buffers(buffers)  # dynamic RoPE grows its frequencies for long inputs and keeps them
    hooked = [(p, p.requires_grad) for p in model.parameters()]
    yield lambda: _set_requires_grad(hooked)
    for part in model.modules():
        if isinstance(getattr(part, "generation_config", None), object) and "generation_config" in vars(part):
            kept = part.generation_config
            values = copy.deepcopy(getattr(kept, "__dict__", {}))
            yield partial(_set_generation_config, part, kept, values)
        config = vars(part).get("config")
        if hasattr(config, "use_cache"):
            use = config.use_cache
            yield partial(setattr, config, "use_cache", use)
        if hasattr(config, "_attn_implementation"):
            attention = config._attn_implementation
            yield partial(setattr, config, "_attn_implementation", attention)
        for name in _MODULE:
            if name in vars(part):
                value = vars(part)[name]
                yield partial(part.__dict__.__setitem__, name, value)  # PEFT's setters do more than set
        for name in _HOOKS:
            hooks = vars(part).get(name, {})
            present = dict(hooks)
            yield partial(_set_hooks, hooks, present)
        before = {name for name in _LEFT_BY_GENERATE if name in vars(part)}
        yield partial(_drop_attributes, part, before)


def _kernel_choices() -> Iterator[tuple[Any, str]]:
    """TF32 is left out: torch refuses to read it by its old name once the new one was used."""
    yield torch.backends.cudnn, "benchmark"
    yield torch.backends.cudnn, "deterministic"


def _attention_kernels() -> Iterator[tuple[Callable[[bool], None], bool]]:
    cuda = torch.backends.cuda
    yield cuda.enable_flash_sdp, cuda.flash_sdp_enabled()
    yield cuda.enable_mem_efficient_sdp, cuda.mem_efficient_sdp_enabled()
    yield cuda.enable_math_sdp, cuda.math_sdp_enabled()
    yield cuda.enable_cudnn_sdp, cuda.cudnn_sdp_enabled()


def _set_hooks(hooks: Any, present: dict[int, Any]) -> None:
    """Hooks that were left behind go, hooks that were taken away come back, in their order."""
    if dict(hooks) != present:
        hooks.clear()
        hooks.update(present)


def _set_modes(modes: list[tuple[Any, bool]]) -> None:
    for module, training in modes:  # one by one: frozen parts may be in eval mode inside a training model
        module.training = training


def _unsaved_buffers(model: Any) -> Iterator[tuple[Any, str, torch.Tensor]]:
    for module in model.modules():
        for name in getattr(module, "_non_persistent_buffers_set", ()):
            buffer = module._buffers.get(name)
            if buffer is not None:
                yield module, name, buffer


def _set_buffers(buffers: list[tuple[Any, str, torch.Tensor, torch.Tensor]]) -> None:
    for module, name, buffer, saved in buffers:
        now = module._buffers.get(name)
        if now is buffer and now.dtype != saved.dtype:
            continue  # FSDP casts buffers when it is first used: training wants them so
        if now is None or now.shape != saved.shape or not torch.equal(now, saved):
            module._buffers[name] = saved


def _set_requires_grad(states: list[tuple[Any, bool]]) -> None:
    for parameter, requires in states:
        if parameter.requires_grad != requires:
            parameter.requires_grad_(requires)


def _set_generation_config(part: Any, kept: Any, values: dict[str, Any]) -> None:
    part.generation_config = kept
    if hasattr(kept, "__dict__"):
        kept.__dict__.clear()
        kept.__dict__.update(values)


def _drop_attributes(part: Any, before: set[str]) -> None:
    for name in _LEFT_BY_GENERATE:
        if name not in before and name in vars(part):
            delattr(part, name)


def _tokenizer_state(tokenizer: Any) -> Iterator[Callable[[], Any]]:
    for name in _TOKENIZER:
        if hasattr(tokenizer, name):
            value = getattr(tokenizer, name)
            yield partial(_set_if_changed, tokenizer, name, value)
    core = getattr(
        tokenizer, "backend_tokenizer", None
    )  # padding and truncation live in the Rust object, and every call sets them
    if core is not None:
        padding, truncation = core.padding, core.truncation
        yield lambda: core.enable_padding(**padding) if padding else core.no_padding()
        yield lambda: core.enable_truncation(**truncation) if truncation else core.no_truncation()


def _set_if_changed(thing: Any, name: str, value: Any) -> None:
    if getattr(thing, name) != value:
        setattr(thing, name, value)
