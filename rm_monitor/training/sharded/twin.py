"""A second tree of the same modules: the same classes, settings and sub-modules, but weights of our choice.

Nothing is initialised (so no random number is drawn) and no class is asked to build itself: every module's
attributes
are taken over, its dictionaries are its own, and what belongs to a wrapper or an engine is left behind:
FSDP's and
DeepSpeed's hooks and classes, compiled calls. Methods that were bound to a module of the old tree are
bound to its
twin. So nothing that generation does to the twin reaches the model being trained.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from functools import partial
from types import MethodType
from typing import Any

import torch

__all__ = ["ParametersOf", "own_modules", "twin"]

ParametersOf = Callable[[Any], dict[str, Any]]  # module -> name -> the parameter its twin uses

_ENGINES = ("torch.distributed", "deepspeed", "accelerate.utils.fsdp")
_HOOKS = (
    "_forward_hooks",
    "_forward_pre_hooks",
    "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called",
    "_forward_pre_hooks_with_kwargs",
)
_BACKWARD = ("_backward_hooks", "_backward_pre_hooks")


def twin(module: Any, parameters_of: ParametersOf | None = None) -> Any:
    """A module with the given weights that computes what ``module`` computes.

    Args:
        module: The root; wrappers below it are left out.
        parameters_of: A module's parameters for its twin; None: the same objects.

    Example:
        >>> layer = torch.nn.Sequential(torch.nn.Linear(2, 1))
        >>> other = twin(layer)
        >>> other[0] is layer[0], other[0].weight is layer[0].weight
        (False, True)
    """
    made: dict[int, Any] = {}
    root = _copy(module, parameters_of or (lambda part: dict(dict.items(part._parameters))), made)
    for copy in {id(c): c for c in made.values()}.values():
        _rebind(copy, made)
        if hasattr(type(copy), "generate"):
            # transformers makes generate() a collective wherever it sees FSDP or ZeRO-3; ours talks to nobody
            copy.__dict__["generate"] = partial(MethodType(type(copy).generate, copy), synced_gpus=False)
    return root


def own_modules(unit: Any, kind: type) -> Iterator[Any]:
    """A sharded unit's modules, itself first, without those of the units (modules of ``kind``) inside it."""
    yield unit
    waiting = [*unit.children()]
    while waiting:
        part = waiting.pop()
        if not isinstance(part, kind):
            yield part
            waiting.extend(part.children())


def _copy(module: Any, parameters_of: ParametersOf, made: dict[int, Any]) -> Any:
    """A module's twin; a wrapper's twin is its inside's twin."""
    if id(module) in made:
        return made[id(module)]
    inside = _inside(module)
    if inside is not None:
        made[id(module)] = _copy(inside, parameters_of, made)
        return made[id(module)]
    cls: Any = _plain_class(type(module))
    copy = cls.__new__(cls)
    made[id(module)] = copy
    copy.__dict__.update(vars(module))
    copy.__dict__["_compiled_call_impl"] = None
    copy.__dict__.pop("_is_fsdp_managed_module", None)
    for name in _HOOKS:
        copy.__dict__[name] = OrderedDict(vars(module).get(name, {}))
    for name in _BACKWARD:
        copy.__dict__[name] = OrderedDict()
    _drop_engine_hooks(copy)
    parameters = parameters_of(module)
    copy.__dict__["_parameters"] = parameters
    for name in parameters:  # FSDP1 leaves views of its flat parameter in the place of the weights
        copy.__dict__.pop(name, None)
    copy.__dict__["_buffers"] = dict(module._buffers)
    copy.__dict__["_non_persistent_buffers_set"] = set(module._non_persistent_buffers_set)
    copy.__dict__["_modules"] = {
        name: None if child is None else _copy(child, parameters_of, made)
        for name, child in module._modules.items()
    }
    return copy


def _inside(module: Any) -> Any:
    """What a wrapper wraps; None for a module of the model's own."""
    name = type(module).__name__
    if name == "FullyShardedDataParallel":
        return module._fsdp_wrapped_module
    return module._modules.get("_orig_mod")


def _plain_class(cls: type) -> type:
    """``fully_shard`` puts a class of its own in front of the module's."""
    if len(cls.__bases__) == 2 and cls.__bases__[0].__name__ == "FSDPModule":
        return cls.__bases__[1]
    return cls


def _drop_engine_hooks(copy: Any) -> None:
    for name in ("_forward_hooks", "_forward_pre_hooks"):
        for key, hook in list(copy.__dict__[name].items()):
            if str(getattr(hook, "__module__", "")).startswith(_ENGINES):
                del copy.__dict__[name][key]
                for flags in _HOOKS[2:]:
                    copy.__dict__[flags].pop(key, None)


def _rebind(copy: Any, made: dict[int, Any]) -> None:
    """Attributes that still point into the old tree."""
    for name, value in list(vars(copy).items()):
        original = getattr(value, "_torchdynamo_orig_callable", None)
        if original is not None and not isinstance(value, torch.nn.Module):
            value = copy.__dict__[name] = original
        if isinstance(value, torch.nn.Module) and id(value) in made:
            copy.__dict__[name] = made[id(value)]
        elif isinstance(value, MethodType) and id(value.__self__) in made:
            if "fully_shard" in getattr(value.__func__, "__code__", _rebind.__code__).co_filename:
                del copy.__dict__[name]  # register_fsdp_forward_method's: the class's own method is wanted
            else:
                copy.__dict__[name] = MethodType(value.__func__, made[id(value.__self__)])
