"""Prompts that a chat template has already written out: control tokens and all."""

from __future__ import annotations

import re

__all__ = ["is_rendered"]

_BOS = r"(?:<s>|<bos>|<\|begin_of_text\|>|<\|endoftext\|>|<｜begin▁of▁sentence｜>|<BOS_TOKEN>|\[gMASK\]<sop>)"
_ROLE = r"(?:system|user|human|developer|assistant|tool)"
_OPENS = (
    rf"<\|im_start\|>{_ROLE}\b",  # ChatML: Qwen, Yi, SmolLM, Hermes
    rf"<\|start_header_id\|>{_ROLE}<\|end_header_id\|>",  # Llama 3
    rf"<\|header_start\|>{_ROLE}<\|header_end\|>",  # Llama 4
    r"<start_of_turn>(?:user|model|system)\n",  # Gemma
    r"<\|turn>(?:user|model|system)\n",  # Gemma 4
    r"\[INST\]",  # Mistral, Llama 2
    r"\[SYSTEM_PROMPT\]",  # Mistral's later ones
    rf"<\|{_ROLE}\|>",  # Zephyr, Phi, Tulu, GLM, Falcon
    rf"<\|start\|>{_ROLE}<\|message\|>",  # harmony
    rf"<\|start_of_role\|>{_ROLE}<\|end_of_role\|>",  # Granite
    r"<｜(?:User|Assistant)｜>",  # DeepSeek
    r"<\|START_OF_TURN_TOKEN\|>",  # Cohere
    r"<reserved_10[67]>",  # Baichuan
    rf"\[\|{_ROLE}\|\]",  # EXAONE
    rf"<seed:bos>{_ROLE}\n",
)
_BEGINS = re.compile(rf"\s*{_BOS}?\s*(?:{'|'.join(_OPENS)})")
_AFTER_SYSTEM = re.compile(
    rf"\s*{_BOS}[^<\[]{{0,4000}}(?:{'|'.join(_OPENS)})"
)  # a system text without a mark


def is_rendered(text: str) -> bool:
    r"""Whether a text begins as a chat template's rendering does; control tokens inside of prose are prose.

    Example:
        >>> is_rendered("<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n")
        True
        >>> is_rendered("What does <|im_start|>user mean?")
        False
    """
    start = text[:8192]
    return (_BEGINS.match(start) or _AFTER_SYSTEM.match(start)) is not None
