"""What stands in a judge's reply: its text behind the reasoning, a letter, the alternatives of its tokens."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

__all__ = ["Token", "double_brackets", "text_of", "tokens_of"]


class Token(NamedTuple):
    """One token of a reply, and its likeliest alternatives with their log-probabilities."""

    token: str
    top: Sequence[tuple[str, float]]


def text_of(choice: Mapping[str, Any]) -> str | None:
    """What a judge wrote, without its reasoning block; None if it was cut off or there is no text.

    Example:
        >>> text_of({"message": {"content": "<think>[[B]]?</think> [[A]]"}, "finish_reason": "stop"})
        ' [[A]]'
        >>> text_of({"message": {"content": "[[A]] because"}, "finish_reason": "length"})
    """
    message = choice.get("message")
    text = message.get("content") if isinstance(message, Mapping) else None
    if not isinstance(text, str) or choice.get("finish_reason") == "length":
        return None
    return text.rpartition("</think>")[2]


def double_brackets(choice: Mapping[str, Any]) -> float:
    """1 for ``[[A]]``, 0 for ``[[B]]``; nan for neither and for both, as RewardBench reads judges.

    Example:
        >>> double_brackets({"message": {"content": "So [[B]]"}, "finish_reason": "stop"})
        0.0
    """
    text = text_of(choice) or ""
    first, second = "[[A]]" in text, "[[B]]" in text
    return math.nan if first == second else float(first)


def tokens_of(choice: Mapping[str, Any]) -> list[Token]:
    """The tokens of a reply that came with log-probabilities; empty if it did not."""
    held = choice.get("logprobs")
    content = held.get("content") if isinstance(held, Mapping) else None
    found = []
    for one in content if isinstance(content, Sequence) else ():
        if not isinstance(one, Mapping):
            return []
        top = [
            (str(t["token"]), float(t["logprob"]))
            for t in one.get("top_logprobs") or ()
            if isinstance(t, Mapping) and isinstance(t.get("logprob"), (int, float)) and "token" in t
        ]
        found.append(Token(str(one.get("token", "")), top))
    return found
