"""Whether a policy can answer, and whether prompts leave it room."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rm_monitor.prompts.rendering import prompt_ids
from rm_monitor.types import Prompt, Sampling

__all__ = ["check_policy", "check_prompts", "context_length", "prompt_ids"]


def check_policy(model: Any, tokenizer: Any) -> None:
    """Refuse, before training, what can never answer.

    Raises:
        ValueError: If there is no tokenizer, or the model is one that does not generate text.
    """
    if tokenizer is None:
        raise ValueError(
            "the policy has no tokenizer, and cannot be asked without: pass `processing_class=` to the "
            "Trainer, or the tokenizer to `monitor.step`"
        )
    generates = getattr(model, "can_generate", None)
    if not hasattr(model, "generate") or (callable(generates) and not generates()):
        raise ValueError(
            f"the policy is a {type(model).__name__}, which does not generate text, so it cannot be asked: "
            "monitor a language model, or pass `generator=` with what answers in its place"
        )


def context_length(config: Any) -> int | None:
    """Longest input of a model in tokens; None if its config does not say."""
    text = config.get_text_config() if hasattr(config, "get_text_config") else config
    for name in ("max_position_embeddings", "n_positions", "max_seq_len"):
        length = getattr(text, name, None)
        if isinstance(length, int) and length > 0:
            return length
    return None


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
        raise ValueError(
            f"{len(too_long)} of {len(prompts)} prompts are longer than the policy's context of {longest} "
            f"tokens leaves beside `max_new_tokens`={sampling.max_new_tokens}: {', '.join(too_long[:5])}. "
            "Drop them, or answer in fewer tokens"
        )
