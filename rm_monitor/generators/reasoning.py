"""Reasoning cut from an answer's token ids, before decoding can delete what delimits it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from rm_monitor.prompts.rendering import generation_prompt, has_template, prompt_text
from rm_monitor.text.reasoning import HARMONY, PAIRS, Pair, Span, bare, spans
from rm_monitor.types import Prompt

__all__ = ["Said", "delimiters", "opening", "split"]


class Said(NamedTuple):
    """What a model said, taken apart.

    Attributes:
        answer: Without control tokens and reasoning.
        reasoning: Without control tokens and delimiters.
        reasoning_tokens: Ids of the reasoning, delimiters included; -1 for a model without any.
    """

    answer: str
    reasoning: str
    reasoning_tokens: int


def split(ids: Sequence[int], tokenizer: Any, *, before: str = "") -> Said:
    """The answer and the reasoning in generated ids.

    Args:
        ids: What was generated, the end token included.
        tokenizer: The policy's; its tokens and its template say which delimiters count.
        before: What `opening` found for the prompt.
    """
    pairs, harmony = delimiters(tokenizer)
    if not pairs and not harmony:
        return Said(tokenizer.decode(ids, skip_special_tokens=True), "", -1)
    whole = tokenizer.decode(ids, skip_special_tokens=False)
    found = spans(whole, pairs=pairs, harmony=harmony, before=before)
    if not found:
        return Said(tokenizer.decode(ids, skip_special_tokens=True), "", 0)
    inside: set[int] = set()
    exact = True
    for span in found:
        start, end = (_token(ids, tokenizer, whole[:place]) for place in span)
        inside |= set(range(start, end))
        heads = (tokenizer.decode(ids[:place], skip_special_tokens=False) for place in (start, end))
        exact &= [len(head) for head in heads] == list(span)
    if exact:
        kept = [token for i, token in enumerate(ids) if i not in inside]
        answer = tokenizer.decode(kept, skip_special_tokens=True)
    else:  # a token holds the end of a delimiter and the beginning of what follows
        answer = _without(whole, found, tokenizer)
    reasoning = bare("".join(whole[a:b] for a, b in found), pairs)
    return Said(answer.strip(), reasoning, len(inside))


def opening(prompt: Prompt, tokenizer: Any) -> str:
    """What the template puts before an answer, in which a block of reasoning may be open; "" without one."""
    pairs, harmony = delimiters(tokenizer)
    if not pairs and not harmony:
        return ""
    if not has_template(prompt, tokenizer):
        text = prompt.rendered or prompt.text
    elif text := generation_prompt(prompt, tokenizer):
        return text
    else:  # a template that opens the answer whether or not it is asked to
        text = prompt_text(prompt, tokenizer)
    return next((pair.opens for pair in pairs if text.rstrip().endswith(pair.opens)), "")


def delimiters(tokenizer: Any) -> tuple[tuple[Pair, ...], bool]:
    """The delimiters that this tokenizer has tokens for, or its template writes."""
    template = str(getattr(tokenizer, "chat_template", None) or "")
    vocabulary = getattr(tokenizer, "convert_tokens_to_ids", None)  # what only decodes has no names of tokens

    def knows(mark: str) -> bool:
        token = None if vocabulary is None else vocabulary(mark)
        return mark in template or (token is not None and token != tokenizer.unk_token_id)

    pairs = tuple(p for p in PAIRS if knows(p.closes) and knows(p.opens.removesuffix("thought")))
    return pairs, all(map(knows, HARMONY))


def _token(ids: Sequence[int], tokenizer: Any, head: str) -> int:
    """How many tokens are needed for so much of the text; half a character does not count."""
    low, high = 0, len(ids)
    while low < high:
        middle = (low + high) // 2
        if tokenizer.decode(ids[:middle], skip_special_tokens=False).startswith(head):
            high = middle
        else:
            low = middle + 1
    return low


def _without(whole: str, found: Sequence[Span], tokenizer: Any) -> str:
    """The text outside the spans, its control tokens taken out by name."""
    kept, at = [], 0
    for span in found:
        kept.append(whole[at : span.start])
        at = span.end
    text = "".join([*kept, whole[at:]])
    for name in tokenizer.all_special_tokens:
        text = text.replace(name, "")
    return text
