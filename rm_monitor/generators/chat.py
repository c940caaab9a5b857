"""Whether prompts can be asked, and leave room for an answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rm_monitor.prompts.rendering import prompt_ids
from rm_monitor.types import Prompt, Sampling

__all__ = ["check_prompts", "context_length", "prompt_ids"]


def context_length(config: Any) -> int | None:
    """Longest input of a model in tokens; None if its config does not say."""
    text = config.get_text_config() if hasattr(config, "get_text_config") else config
    for name in ("max_position_embeddings", "n_positions", "max_seq_len"):
        length = getattr(text, name, None)
        if isinstance(length, int) and length > 0:
            return length
    return None


NAMED = 3  # prompts that a message names


def check_prompts(prompts: Sequence[Prompt], tokenizer: Any, config: Any, sampling: Sampling) -> None:
    """Refuse, before training, prompts that cannot be asked or leave no room for the answer.

    Raises:
        ValueError: Which prompts, why, how long, and what would fit.
    """
    longest = context_length(config)
    encoder = bool(getattr(config, "is_encoder_decoder", False))
    lengths = [len(prompt_ids(p, tokenizer, closed=encoder)) for p in prompts]
    if longest is None:
        return
    room = longest - sampling.max_new_tokens
    too_long = [f"{p.label} ({n} tokens)" for p, n in zip(prompts, lengths, strict=True) if n > room]
    if too_long:
        fits = longest - max(lengths)
        way = f"sampling=Sampling(max_new_tokens={fits}) leaves room for all" if fits > 0 else "Drop them"
        more = ", ..." if len(too_long) > NAMED else ""
        raise ValueError(
            f"the policy's context is {longest} tokens, and `max_new_tokens`={sampling.max_new_tokens} "
            f"leaves no room for {len(too_long)} of {len(prompts)} prompts: {', '.join(too_long[:NAMED])}"
            f"{more}. {way}"
        )
