"""Is a text part of another? Whole words decide; case, punctuation and line breaks do not."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from rm_monitor.prompts.turns import are_turns, turns

__all__ = ["left_out", "words"]

_WORD = re.compile(r"\w+")


def left_out(value: Any, text: str) -> str | None:
    """The first text of a value that is not in ``text``, or None; of a conversation, its question counts.

    Example:
        >>> left_out(["the sea", "a soap"], "What is the SEA?"), left_out("a", "What?")
        ('a soap', 'a')
    """
    whole = words(text)
    for leaf in _leaves(value):
        if (leaf not in text) if words(leaf) == leaf else (words(leaf) not in whole):
            return leaf
    return None


def words(text: str) -> str:
    """A text's words between blanks, so that ``in`` finds whole words; the text itself where it has none."""
    found = _WORD.findall(text.casefold())
    return f" {' '.join(found)} " if found else text


def _leaves(value: Any) -> Iterator[str]:
    """Every text and number; of a conversation, what stands before its first answer."""
    if are_turns(value):
        try:
            found = turns(value)
        except ValueError:
            found = ()
        n = next((i for i, turn in enumerate(found) if turn["role"] == "assistant"), len(found))
        yield from (turn["content"] for turn in found[:n])
        if found:
            return
    if isinstance(value, str):
        if value.strip():
            yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _leaves(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _leaves(item)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield str(value)
    elif value is not None and not isinstance(value, bool):
        yield f"<{type(value).__name__}>"  # an image, bytes: nothing that is asked
