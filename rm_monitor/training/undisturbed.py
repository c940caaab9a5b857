"""`undisturbed`: whatever happens inside, training reads the same state afterwards.

Everything that an evaluation could change and that training reads is saved on entry and restored on exit,
also when the body raises. What each line is for is in ``docs/design/undisturbed.md``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from threading import RLock
from typing import Any

import torch

from rm_monitor.training.hooks import say_hooks
from rm_monitor.training.module_state import Merged, model_state
from rm_monitor.training.random_states import random_states

__all__ = ["undisturbed"]

_TOKENIZER = (
    "padding_side",
    "truncation_side",
    "pad_token",
    "eos_token",
    "chat_template",
    "model_max_length",
)


# States are the process's: what two threads restored at once would be neither's.
_one_at_a_time = RLock()


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
        after.enter_context(_one_at_a_time)
        for restore in random_states():
            after.callback(restore)
        for restore in _global_settings():
            after.callback(restore)
        if model is not None:
            say_hooks(model)
            merged = Merged(model)
            after.callback(merged.restore)
            for restore in model_state(model):
                after.callback(restore)
            model.eval()
            merged.forget_unchanged()
        if tokenizer is not None:
            for restore in _tokenizer_state(tokenizer):
                after.callback(restore)
        if _keeps_other_weights(optimizer):
            optimizer.eval()
            after.callback(optimizer.train)
        after.enter_context(
            torch.no_grad()
        )  # inference_mode's tensors may stay in caches and break a backward
        yield


def _keeps_other_weights(optimizer: Any) -> bool:
    """Whether a schedule-free optimizer holds its training weights now: then its others are to be judged."""
    inner = getattr(optimizer, "optimizer", optimizer)  # accelerate wraps it
    if not (callable(getattr(inner, "eval", None)) and callable(getattr(inner, "train", None))):
        return False
    return any(group.get("train_mode", True) for group in getattr(inner, "param_groups", [{}]))


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
