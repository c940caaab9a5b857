"""A function of ours hung into a model through transformers' attention interface, while it is used."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor
from transformers import AttentionInterface

from rm_monitor.packed.scope import OutOfScope

__all__ = ["refuse_unknown", "through"]

HARMLESS = {
    "position_ids",
    "cache_position",
    "use_cache",
    "output_attentions",
    "is_causal",
    "position_embeddings",
}


@contextmanager
def through(model: Any, name: str, attend: Callable[..., tuple[Tensor, None]]) -> Iterator[None]:
    """Inside, the model attends by ``attend``; what it did before comes back whatever happens.

    A name that transformers' masks do not know means that no mask is made.

    Args:
        model: A transformers model.
        name: What the function is registered as.
        attend: Query, key, value ``(1, heads, tokens, width)`` -> ``(1, tokens, heads, width)``.
    """
    AttentionInterface.register(name, attend)
    configs = {id(m.config): m.config for m in model.modules() if hasattr(m, "config")}.values()
    before = [(config, config._attn_implementation) for config in configs]
    try:
        for config, _ in before:
            config._attn_implementation = name
        yield
    finally:
        for config, implementation in before:
            config._attn_implementation = implementation


def refuse_unknown(mask: Tensor | None, dropout: float, others: Mapping[str, Any]) -> None:
    """What a function of ours knows nothing of must not be left out.

    Raises:
        OutOfScope: If the attention is called with anything that changes its result.
    """
    unknown = sorted(name for name, given in others.items() if given is not None and name not in HARMLESS)
    if unknown or mask is not None or dropout:
        raise OutOfScope(f"its attention asks for {', '.join(unknown) or 'a mask or dropout of its own'}")
