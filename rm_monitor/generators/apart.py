"""Which rows may share a forward: a row's answer must not depend on its neighbours.

Most architectures read a row the same whatever stands beside it. Some read the padding, RWKV in transformers
mixes the rows of a batch, and LongRoPE takes other frequencies for the whole batch once one row is long.
"""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable, Hashable, Sequence
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor

__all__ = ["Reads", "apart", "reads", "why_not_in_step"]

log = logging.getLogger("rm_monitor")

_READ_MORE = ("rwkv", "rwkv5", "rwkv6", "rwkv7")  # known to; others are tried, which sharded ranks cannot
_TRIED = 32  # tokens of the shorter row of the trial
_ULPS, _HALF_ULPS = 64, 8  # of the largest logit, between two shapes of one forward

Reads: TypeAlias = Literal["", "padding", "neighbours"]

_known: weakref.WeakKeyDictionary[Any, Reads] = weakref.WeakKeyDictionary()


def apart(
    model: Any, lengths: Sequence[int], longest: int, trial: Callable[[], Reads]
) -> Callable[[int], Hashable]:
    """A name for each row, from its number; only rows of equal names may share a forward.

    Args:
        model: The policy.
        lengths: Tokens of each row's prompt.
        longest: Tokens that an answer may have.
        trial: Tells what else than its own row the model reads (`reads`); asked once a model.
    """
    if len(lengths) > 1 and model not in _known:
        _known[model] = trial()
        if _known[model]:
            one = "one length" if _known[model] == "padding" else "one prompt"
            log.warning(
                "rm_monitor: a %s reads its %s, so prompts are answered %s at a time: slower, and no answer "
                "depends on what it is batched with",
                type(model).__name__,
                _known[model],
                one,
            )
    known = _known.get(model, "")
    if known:
        return (lambda i: lengths[i]) if known == "padding" else (lambda i: i)
    switch = _switch(model.config)
    if switch is None:
        return lambda i: ""

    def side(i: int) -> Hashable:
        if lengths[i] > switch:
            return "long"
        # A row that crosses while it is answered does so at its own length.
        return "short" if lengths[i] + longest <= switch else lengths[i]

    return side


def reads(
    scores: Callable[[Sequence[Sequence[int]]], Tensor], rows: Sequence[Sequence[int]], dtype: torch.dtype
) -> Reads:
    """What a model's next tokens depend on beside their own row, seen on two prompts.

    Args:
        scores: ``(2, n, vocabulary)`` scores of the next two tokens of ``n`` rows answered together.
        rows: Prompts.
        dtype: The coarsest numbers that the model computes in.
    """
    ordered = sorted(rows, key=len)
    short = list(ordered[0][:_TRIED])
    long = [*ordered[-1][:_TRIED], *short][: len(short) + _TRIED]

    def differs(beside: Sequence[int]) -> bool:
        other = scores([short, beside])[:, 0].float()
        finite = alone.isfinite() & other.isfinite()
        rounding = ulps * torch.finfo(dtype).eps * alone[finite].abs().max()
        return bool((alone - other)[finite].abs().max() > rounding)

    ulps = _ULPS if dtype.itemsize >= 4 else _HALF_ULPS
    try:
        alone = scores([short])[:, 0].float()
        if differs(short[::-1]):
            return "neighbours"
        return "padding" if len(long) > len(short) and differs(long) else ""
    except Exception:  # whatever is odd about this model shows itself when it answers
        return ""


def why_not_in_step(config: Any) -> str:
    """Why ranks whose forwards all gather weights cannot make equally many; empty if they can.

    Example:
        >>> from types import SimpleNamespace
        >>> why_not_in_step(SimpleNamespace(model_type="llama"))
        ''
    """
    if _switch(config) is not None:
        return "LongRoPE answers rows on both sides of its switch apart"
    if getattr(config, "model_type", "") in _READ_MORE:
        return f"a {config.model_type} reads more than its own row, so that prompts are answered apart"
    return ""


def _switch(config: Any) -> int | None:
    """The length beyond which LongRoPE takes its other frequencies; None without it."""
    text = config.get_text_config() if hasattr(config, "get_text_config") else config
    rope = getattr(text, "rope_parameters", None) or getattr(text, "rope_scaling", None) or {}
    if not isinstance(rope, dict) or rope.get("rope_type", rope.get("type")) != "longrope":
        return None
    found = rope.get("original_max_position_embeddings") or getattr(
        text, "original_max_position_embeddings", None
    )
    return int(found) if found else None
