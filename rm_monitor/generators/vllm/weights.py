"""The weights in training under the names of a saved checkpoint, adapters merged into copies."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from torch import Tensor

from rm_monitor.generators.engine.scope import base_of
from rm_monitor.training.unwrap import unwrap

__all__ = ["named_weights", "why_not_handed_over"]

_HUNG_IN = ("_checkpoint_wrapped_module.", "_orig_mod.")  # parts of a name that no checkpoint has


def why_not_handed_over(model: Any) -> str:
    """Why this model's weights are none that another engine could take; empty if they are."""
    inner = base_of(unwrap(model))
    if inner is unwrap(model) and getattr(inner, "peft_config", None):
        return "its adapter is a learnt prompt, which lies in no weight"
    if getattr(inner, "is_quantized", False) or getattr(inner, "hf_quantizer", None) is not None:
        return "its weights are quantised"
    odd = next((name for name, p in inner.named_parameters() if not p.dtype.is_floating_point), None)
    return f"its weight {odd} holds no floating-point numbers" if odd else ""


def named_weights(model: Any) -> Iterator[tuple[str, Tensor]]:
    """Each weight as a saved and merged checkpoint would hold it, one layer at a time.

    A layer with an adapter is copied and the copy merged, by PEFT itself, so a whole second model never
    exists and the weights in training are not touched.

    Args:
        model: A transformers model, also wrapped, with or without adapters.

    Raises:
        ValueError: If an adapter lies in a way that is not known here.
    """
    inner = base_of(unwrap(model))
    whole = {} if inner is unwrap(model) else dict(_adapted(inner))
    done: set[str] = set()
    for name, parameter in inner.named_parameters():
        place = next((p for p in _prefixes(name) if p in whole), None)
        if place is None:
            yield _plain(name), parameter.detach()
        elif place not in done:
            done.add(place)
            layer = whole[place]
            for last, weight in _merged(layer).named_parameters():
                yield _plain(f"{place}.{last}"), weight.detach()


def _adapted(model: Any) -> Iterator[tuple[str, Any]]:
    """The layers that PEFT replaced, by name."""
    from peft.tuners.tuners_utils import BaseTunerLayer  # noqa: PLC0415  only where it is in use
    from peft.utils.other import AuxiliaryTrainingWrapper  # noqa: PLC0415

    for name, module in model.named_modules():
        if isinstance(module, (BaseTunerLayer, AuxiliaryTrainingWrapper)):
            yield name, module


def _merged(layer: Any) -> Any:
    """The module that stands in a merged model where this adapted one stands now."""
    from peft.tuners.tuners_utils import BaseTunerLayer  # noqa: PLC0415
    from peft.utils.other import ModulesToSaveWrapper  # noqa: PLC0415

    if isinstance(layer, ModulesToSaveWrapper):
        if layer.disable_adapters or not layer.active_adapters:
            return layer.original_module
        return layer.modules_to_save[layer.active_adapters[0]]
    if not isinstance(layer, BaseTunerLayer):
        raise ValueError(
            f"a {type(layer).__name__} of PEFT cannot be handed over: leave `generator` out, and the engine "
            "in this process answers with the adapter as it stands"
        )
    if layer.merged or layer.disable_adapters:
        return layer.get_base_layer()
    merged = copy.deepcopy(layer)
    merged.merge()
    return merged.get_base_layer()


def _prefixes(name: str) -> Iterator[str]:
    """``a.b.c`` -> ``a``, ``a.b``: the outermost adapted module holds what lies in it."""
    parts = name.split(".")
    return (".".join(parts[:n]) for n in range(1, len(parts)))


def _plain(name: str) -> str:
    for part in _HUNG_IN:
        name = name.replace(part, "")
    return name
