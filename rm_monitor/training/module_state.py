"""What the modules of a model hold, so that all of it can be put back.

A module is more than its weights: its mode, buffers that a forward moves, hooks, Python attributes that a
``forward``, a patched ``generate`` or an ``eval()`` of its own sets. What is bound, and what the plain
containers among it hold, is kept by identity; tensors that can change in place are copied.
"""

from __future__ import annotations

import copy
import logging
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch

__all__ = ["Merged", "model_state"]

log = logging.getLogger("rm_monitor")

LARGEST = (
    16_777_216  # bytes of a saved buffer that is copied; quantised weights are buffers too, and far larger
)
_SMALL = 65_536  # numbers of a tensor among the attributes that is copied
_PLAIN = (dict, OrderedDict, defaultdict, list, set, deque)
# An engine that spread the weights over processes sets up its own attributes when it is first used.
_OF_A_SPREAD_MODEL = (
    *("gradient_checkpointing", "_disable_adapters", "_active_adapter", "active_adapter"),
    *("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks"),
    *("_cache", "_previous_max_cache_length", "_previous_cache_position"),
)
_LIBRARIES = {"torch", "transformers", "peft", "accelerate", "deepspeed"}  # their modes write no weights


def model_state(model: Any) -> Iterator[Callable[[], Any]]:
    """What puts a model back, piece by piece; to be called in the reverse order.

    Args:
        model: As it stands; nothing of it is changed here.
    """
    modules = list(model.modules())
    spread = is_spread(model)
    states = [(p, p.requires_grad) for p in model.parameters()]
    yield lambda: _set_requires_grad(states)
    buffers = [
        _Buffer(part, name, b) for part in modules for name, b in part._buffers.items() if b is not None
    ]
    yield partial(_restore_all, buffers)  # MoE counters, running sums, dynamic RoPE
    for part in modules:
        names = _OF_A_SPREAD_MODEL if spread or _is_lazy(part) else None
        yield partial(_restore, part, *_attributes(part, names))
        yield from _settings(part)
    modes = [(part, part.training) for part in modules]
    yield lambda: _set_modes(modes)


def is_spread(model: Any) -> bool:
    """Whether an engine spread this model's weights over processes."""
    return any(
        hasattr(part, "_get_fsdp_state") or type(part).__name__ == "FullyShardedDataParallel"
        for part in model.modules()
    ) or any(hasattr(parameter, "ds_id") for parameter in model.parameters())


def _own_modes(part: Any) -> list[str]:
    """Packages whose ``train()`` or ``eval()`` a module has, torch's plain one left out."""
    owners = [next((c for c in type(part).__mro__ if name in vars(c)), None) for name in ("train", "eval")]
    return [c.__module__.partition(".")[0] for c in owners if c not in (None, torch.nn.Module)]


class Merged:
    """Weights that a module's own ``train()`` or ``eval()`` writes into: taking them back rounds.

    Args:
        model: Before its mode changes.
    """

    def __init__(self, model: Any) -> None:
        owners = [part for part in model.modules() if set(_own_modes(part)) - _LIBRARIES]
        weights = {id(p): p for part in owners for p in part.parameters()}
        self._kept = [(p, p.detach().clone()) for p in weights.values()]

    def forget_unchanged(self) -> None:
        """Give back the room of what the change of mode left alone."""
        self._kept = [(p, saved) for p, saved in self._kept if not _same(p.detach(), saved)]

    def restore(self) -> None:
        """Put the very bits back."""
        for parameter, saved in self._kept:
            parameter.data.copy_(saved)  # by `data`: a graph that is alive reads the same numbers


class _Buffer:
    """A buffer: which tensor it is, and what it holds."""

    def __init__(self, part: Any, name: str, tensor: torch.Tensor) -> None:
        self._where = part, name
        self._tensor, self._version = tensor, tensor._version
        saved = name not in part._non_persistent_buffers_set
        small = not saved or tensor.numel() * tensor.element_size() <= LARGEST
        self._kept = tensor.detach().clone() if small else None

    def restore(self) -> None:
        part, name = self._where
        part._buffers[name] = self._tensor
        if self._kept is None:
            if self._tensor._version != self._version:
                log.warning(
                    "rm_monitor: an evaluation changed the buffer %s of %s, which is too large to be kept: "
                    "training goes on with what it holds now",
                    name,
                    type(part).__name__,
                )
        elif self._tensor.dtype == self._kept.dtype and not _same(self._tensor, self._kept):
            self._tensor.detach().copy_(self._kept)  # FSDP casts buffers when it is first used: not undone


def _restore_all(buffers: list[_Buffer]) -> None:
    for buffer in buffers:
        buffer.restore()


def _attributes(part: Any, only: tuple[str, ...] | None) -> tuple[dict[str, Any], dict[str, Any], Any]:
    """What a module binds, what its plain containers hold, and small tensors among it."""
    bound = {n: v for n, v in vars(part).items() if n != "training" and (only is None or n in only)}
    contents = {n: copy.copy(v) for n, v in bound.items() if type(v) in _PLAIN}
    tensors = [
        (v, v.detach().clone()) for v in bound.values() if isinstance(v, torch.Tensor) and v.numel() <= _SMALL
    ]
    return bound, contents, (tensors, only)


def _restore(part: Any, bound: dict[str, Any], contents: dict[str, Any], rest: Any) -> None:
    tensors, only = rest
    now = part.__dict__
    for name in [n for n in now if n != "training" and n not in bound and (only is None or n in only)]:
        del now[name]
    for name, value in bound.items():
        if name not in now or now[name] is not value:
            now[name] = value  # not by setattr: PEFT's setters do more than set
    for name, saved in contents.items():
        if not _holds(bound[name], saved):
            _refill(bound[name], saved)
    for tensor, saved in tensors:
        if tensor.dtype == saved.dtype and not _same(tensor, saved):
            tensor.detach().copy_(saved)


def _holds(container: Any, saved: Any) -> bool:
    if len(container) != len(saved):
        return False
    if isinstance(container, dict):
        pairs = zip(container.items(), saved.items(), strict=True)
        return all((a is c and b is d) or (a == c and b is d) for (a, b), (c, d) in pairs)
    if isinstance(container, set):
        return bool(container == saved)
    return all(a is b for a, b in zip(container, saved, strict=True))


def _refill(container: Any, saved: Any) -> None:
    container.clear()
    (container.update if isinstance(container, (dict, set)) else container.extend)(saved)


def _settings(part: Any) -> Iterator[Callable[[], Any]]:
    """The settings that hang on a module and are saved with a checkpoint."""
    kept = vars(part).get("generation_config")
    if kept is not None:
        values = copy.deepcopy(getattr(kept, "__dict__", {}))
        yield partial(_set_generation_config, kept, values)
    config = vars(part).get("config")
    for name in ("use_cache", "_attn_implementation"):
        if hasattr(config, name):
            yield partial(setattr, config, name, getattr(config, name))


def _set_generation_config(kept: Any, values: dict[str, Any]) -> None:
    if hasattr(kept, "__dict__"):
        kept.__dict__.clear()
        kept.__dict__.update(values)


def _set_modes(modes: list[tuple[Any, bool]]) -> None:
    """Back by the way they came: a module that merges on ``eval()`` takes it back in ``train()``."""
    for part, training in modes:
        if part.training != training and _own_modes(part):
            part.train(training)
    for part, training in modes:  # one by one: frozen parts may be in eval mode inside a training model
        part.training = training


def _set_requires_grad(states: list[tuple[Any, bool]]) -> None:
    for parameter, requires in states:
        if parameter.requires_grad != requires:
            parameter.requires_grad_(requires)


def _same(now: torch.Tensor, saved: torch.Tensor) -> bool:
    return now.shape == saved.shape and bool(torch.equal(now, saved) or _equal_with_nans(now, saved))


def _equal_with_nans(now: torch.Tensor, saved: torch.Tensor) -> bool:
    return now.is_floating_point() and bool(torch.allclose(now, saved, rtol=0, atol=0, equal_nan=True))


def _is_lazy(part: Any) -> bool:
    return isinstance(part, torch.nn.modules.lazy.LazyModuleMixin)
