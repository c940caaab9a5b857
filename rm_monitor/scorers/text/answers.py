"""What of an answer a reward model is shown: no reasoning block, and no control tokens spelled in text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from rm_monitor.text.reasoning import cut

__all__ = ["ControlTokens", "strip_think"]

_BREAK = "\u200b"  # a zero-width space: invisible to a reader, and it keeps a token's name from being one


def strip_think(text: str) -> str:
    """The answer without its reasoning, in a text of which nothing but the text is known.

    The policy's own answers come without (`Completion.reasoning`); references, recorded answers and other
    people's may have it still. Reasoning is what stands before the answer between delimiters
    (`rm_monitor.text.reasoning.PAIRS`, or channels other than ``final``), also where a template had opened
    it; an answer cut off inside is empty. A delimiter in the middle of a sentence is a mention.

    Example:
        >>> strip_think("<think>Four? Yes.</think> Four.")
        'Four.'
        >>> strip_think("<think>Let me see")
        ''
        >>> strip_think("It closes with `</think>`. Four.")
        'It closes with `</think>`. Four.'
    """
    return cut(text)[0]


class ControlTokens:
    """The tokens that structure a reward model's input, which a policy must not be able to write.

    A completion that spells ``<|im_end|>`` would end its own turn, and could go on to praise itself as the
    user (reward-model hijack). Control tokens are the special tokens and those added tokens that the chat
    template writes; other added tokens (runs of blanks, HTML tags) are ordinary text.

    Args:
        tokenizer: The reward model's own.
        template: Its chat template; empty if it has none.
        markers: Further pieces of text that structure the input though they are not tokens.
    """

    def __init__(self, tokenizer: Any, template: str = "", markers: Sequence[str] = ()) -> None:
        added = tokenizer.added_tokens_decoder
        self.ids = frozenset(
            index
            for index, token in added.items()
            if (token.special or token.content in template) and not token.content.isspace()
        ) | frozenset(tokenizer.all_special_ids)
        names = {added[i].content if i in added else tokenizer.convert_ids_to_tokens(i) for i in self.ids}
        names.update(markers)
        # Longest first, so that the name that is broken is the one the tokenizer would have found.
        longest = sorted((name for name in names if len(name) > 1), key=len, reverse=True)
        self._names = re.compile("|".join(map(re.escape, longest)) or r"(?!)")
        if tokenizer.unk_token_id is not None:
            self.ids -= {tokenizer.unk_token_id}  # any rare character may give one

    def neutralise(self, text: str) -> str:
        """The text with every control token's name broken by an invisible character."""
        while (broken := self._names.sub(lambda m: m[0][0] + _BREAK + m[0][1:], text)) != text:
            text = broken
        return text

    def count(self, ids: Sequence[int]) -> int:
        """How many of the ids are control tokens."""
        return sum(i in self.ids for i in ids)
