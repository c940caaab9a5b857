"""Which models the engine serves; all others go to transformers' own ``generate``."""

from __future__ import annotations

import inspect
from typing import Any

from torch import nn

from rm_monitor.generators.makers import kept
from rm_monitor.packed.scope import OutOfScope, why_not_packed

__all__ = ["OutOfScope", "base_of", "why_not", "wrappings"]


def base_of(model: Any) -> Any:
    """The transformers model inside PEFT's wrapper, adapters in place; other models as they are."""
    adapters = getattr(model, "peft_config", None)
    if adapters and hasattr(model, "get_base_model"):
        if any(getattr(a, "is_prompt_learning", False) for a in adapters.values()):
            return model
        return model.get_base_model()
    return model


def why_not(model: Any) -> str:
    """Why the engine cannot run this model; empty if it looks as though it could."""
    return why_not_packed(model, wrapped=True, windows=True) or _forward(model) or _makers(model)


def _makers(model: Any) -> str:
    rules = kept(model)
    return f"its generation config has `{next(iter(rules))}`" if rules else ""


def wrappings(model: Any) -> frozenset[tuple[str, str, str]]:
    """What others hung into its modules: (module, what, by whom), the same for the same wrappings.

    Trainers replace forwards and hang hooks: accelerate's mixed precision, TRL's fused head, gradient
    checkpointing's on the embeddings. ``generate`` runs through them and so does the engine, which is tried
    again when they change.
    """
    found = set()
    for name, module in model.named_modules():
        for kind in ("_forward_hooks", "_forward_pre_hooks"):
            found |= {(name, kind, _whose(hook)) for hook in getattr(module, kind).values()}
        if "forward" in vars(module):
            found.add((name, "forward", _whose(module.forward)))
    return frozenset(found)


def _whose(call: Any) -> str:
    """``forward`` of accelerate is named after what it wraps: the code tells them apart."""
    code = getattr(getattr(call, "__func__", call), "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code else type(call).__qualname__


def _forward(model: Any) -> str:
    takes = inspect.signature(type(model).forward).parameters
    missing = [
        name for name in ("input_ids", "position_ids", "logits_to_keep", "use_cache") if name not in takes
    ]
    if missing:
        return f"its forward takes no `{missing[0]}`"
    return "" if isinstance(model.get_output_embeddings(), nn.Module) else "it has no language-model head"
