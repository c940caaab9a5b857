"""Prompts as token ids of the policy, and whether they fit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rm_monitor.types import Prompt, Sampling

__all__ = ["check_prompts", "context_length", "prompt_ids"]


def prompt_ids(prompt: Prompt, tokenizer: Any) -> list[int]:
    """Ids of a prompt up to where the answer begins, from one call of the tokenizer, which is not changed.

    Raises:
        ValueError: If a conversation of several turns meets a tokenizer without a chat template.
    """
    if not prompt.raw and getattr(tokenizer, "chat_template", None):
        ids: list[int] = tokenizer.apply_chat_template(
            list(prompt.messages), tokenize=True, add_generation_prompt=True, return_dict=False
        )
        return ids
    if len(prompt.messages) > 1:
        raise ValueError(
            f"prompt {prompt.id!r} has {len(prompt.messages)} turns and the policy's tokenizer has no "
            f"chat template: "
            "set `tokenizer.chat_template`, or give prompts of one turn"
        )
    return list(tokenizer(prompt.text)["input_ids"])


def context_length(config: Any) -> int | None:
    """Longest input of a model in tokens; None if its config does not say."""
    text = config.get_text_config() if hasattr(config, "get_text_config") else config
    for name in ("max_position_embeddings", "n_positions", "max_seq_len"):
        length = getattr(text, name, None)
        if isinstance(length, int) and length > 0:
            return length
    return None


def check_prompts(prompts: Sequence[Prompt], tokenizer: Any, config: Any, sampling: Sampling) -> None:
    """Refuse, before training, prompts that leave no room for the answer.

    Raises:
        ValueError: Which prompts, how long, and what would fit.
    """
    longest = context_length(config)
    lengths = {p.id: len(prompt_ids(p, tokenizer)) for p in prompts}
    if longest is None:
        return
    room = longest - sampling.max_new_tokens
    too_long = {id: length for id, length in lengths.items() if length > room}
    if too_long:
        raise ValueError(
            f"{len(too_long)} of {len(prompts)} prompts are longer than the policy's context of "
            f"{longest} tokens leaves beside "
            f"`max_new_tokens`={sampling.max_new_tokens}: {dict(list(too_long.items())[:5])} tokens. "
            f"Drop them, or answer in fewer tokens"
        )
