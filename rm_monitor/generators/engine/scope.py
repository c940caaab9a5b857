"""Which models the engine serves; all others go to transformers' own ``generate``."""

from __future__ import annotations

import inspect
from typing import Any

from torch import nn

from rm_monitor.packed.scope import OutOfScope, why_not_packed

__all__ = ["OutOfScope", "base_of", "why_not"]


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
    return why_not_packed(model) or _forward(model)


def _forward(model: Any) -> str:
    takes = inspect.signature(type(model).forward).parameters
    missing = [
        name for name in ("input_ids", "position_ids", "logits_to_keep", "use_cache") if name not in takes
    ]
    if missing:
        return f"its forward takes no `{missing[0]}`"
    return "" if isinstance(model.get_output_embeddings(), nn.Module) else "it has no language-model head"
