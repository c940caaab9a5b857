"""Where reasoning stands in what a model said: the delimiters that models use, and the spans between them.

Reasoning stands before the answer. A delimiter in the middle of a sentence is a mention, and changes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

__all__ = ["HARMONY", "PAIRS", "Pair", "Span", "cut", "spans"]


class Pair(NamedTuple):
    """What opens a block of reasoning, and what closes it."""

    opens: str
    closes: str


class Span(NamedTuple):
    """A piece of text, from its first character to the one after its last."""

    start: int
    end: int


PAIRS = (
    Pair("<think>", "</think>"),  # DeepSeek-R1, Qwen3, QwQ, GLM, SmolLM3, Olmo-Think, Nemotron
    Pair("<thinking>", "</thinking>"),
    Pair("<reasoning>", "</reasoning>"),
    Pair("<thought>", "</thought>"),
    Pair("<seed:think>", "</seed:think>"),  # Seed-OSS
    Pair("[THINK]", "[/THINK]"),  # Magistral
    Pair("<|START_THINKING|>", "<|END_THINKING|>"),  # Command A
    Pair("<|begin_of_thought|>", "<|end_of_thought|>"),  # OpenThinker, Sky-T1
    Pair("<|channel>thought", "<channel|>"),  # Gemma 4
    Pair("◁think▷", "◁/think▷"),  # Kimi
)
HARMONY = ("<|channel|>", "<|message|>")  # gpt-oss: every message names its channel; `final` is the answer

_ENDS = ("<|end|>", "<|return|>", "<|call|>", "<|start|>", "<|channel|>")
_MESSAGE = re.compile(r"<\|channel\|>(?P<head>[^<]*(?:<\|constrain\|>[^<]*)?)<\|message\|>")


def cut(text: str, *, pairs: Sequence[Pair] = PAIRS, harmony: bool = True) -> tuple[str, str]:
    """A text without its reasoning, and the reasoning without its delimiters.

    Example:
        >>> cut("<think>Four? Yes.</think> Four.")
        ('Four.', 'Four? Yes.')
        >>> cut("<think>Let me see")
        ('', 'Let me see')
        >>> cut("It ends with `</think>`. Then the answer.")[0]
        'It ends with `</think>`. Then the answer.'
    """
    found = spans(text, pairs=pairs, harmony=harmony)
    if not found:
        return text, ""
    kept, at = [], 0
    for span in found:
        kept.append(text[at : span.start])
        at = span.end
    answer = "".join([*kept, text[at:]])
    for mark in _ENDS if harmony else ():
        answer = answer.replace(mark, "")
    return answer.strip(), bare("".join(text[a:b] for a, b in found), pairs)


def bare(reasoning: str, pairs: Sequence[Pair] = PAIRS) -> str:
    """Reasoning without the delimiters around it."""
    for mark in (mark for pair in pairs for mark in pair):
        reasoning = reasoning.replace(mark, "")
    return _MESSAGE.sub("", re.sub("|".join(map(re.escape, _ENDS[:4])), "", reasoning)).strip()


def spans(text: str, *, pairs: Sequence[Pair] = PAIRS, harmony: bool = True, before: str = "") -> list[Span]:
    """Where in a text reasoning stands, its delimiters included, in order; none: all of it is the answer.

    Args:
        text: What a model said, control tokens included.
        pairs: The delimiters its tokenizer or template knows.
        harmony: Whether messages may name a channel.
        before: What the template put before the text for the answer, where a block may have been opened.

    Example:
        >>> spans("Let me see.</think>Four.", before="<|assistant|><think>")
        [Span(start=0, end=19)]
    """
    if harmony and HARMONY[0] in before + text:
        return list(_outside_final(text, before))
    found = list(_leading(text, pairs, _opened(before, pairs)))
    if not found:
        found = list(_unopened(text, pairs))
    if found and found[-1].end < len(text):
        found += _again(text, pairs, found[-1].end)
    return found


def _opened(before: str, pairs: Sequence[Pair]) -> Pair | None:
    """The block that is open where the text begins."""
    for pair in pairs:
        at = before.rfind(pair.opens)
        if at >= 0 and before.find(pair.closes, at + len(pair.opens)) < 0:
            return pair
    return None


def _leading(text: str, pairs: Sequence[Pair], opened: Pair | None) -> Iterator[Span]:
    """Blocks at the very beginning, the first of which may have been opened before."""
    at = 0
    while True:
        start = at + len(text[at:]) - len(text[at:].lstrip())
        pair = opened or next((p for p in pairs if text.startswith(p.opens, start)), None)
        if pair is None:
            return
        inside = at if opened else start + len(pair.opens)
        end = text.find(pair.closes, inside)
        if end < 0:
            yield Span(at, len(text))
            return
        yield Span(at, end + len(pair.closes))
        at, opened = end + len(pair.closes), None


def _unopened(text: str, pairs: Sequence[Pair]) -> Iterator[Span]:
    """A block that something we do not see has opened: its end stands on a line of its own, or ends one."""
    for pair in pairs:
        mark = re.escape(pair.closes)
        found = re.search(rf"(?:\A|(?<=\n))[ \t]*{mark}[ \t]*(?=\n|\Z)|(?<=[^\s`'\"(\[]){mark}(?=\n\n)", text)
        if found and pair.opens not in text[: found.start()]:
            yield Span(0, found.end())
            return


def _again(text: str, pairs: Sequence[Pair], at: int) -> Iterator[Span]:
    """A later block of a text that began with one; what stands apart inside a sentence is a mention."""
    for pair in pairs:
        opens = re.compile(rf"(?m)(?:^[ \t]*|(?<=[^\s`'\"(\[])){re.escape(pair.opens)}")
        found = opens.search(text, at)
        if found:
            end = text.find(pair.closes, found.end())
            yield Span(found.start(), len(text) if end < 0 else end + len(pair.closes))
            return


def _outside_final(text: str, before: str) -> Iterator[Span]:
    """All but the answer's messages: those of channel `final`, and without one the calls of tools."""
    whole = before + text
    messages = [(m["head"].strip(), m.end(), _end(whole, m.end())) for m in _MESSAGE.finditer(whole)]
    answers = [(a, b) for head, a, b in messages if head.split(" ")[0] == "final"]
    answers = answers or [(a, b) for head, a, b in messages if " to=" in f" {head}"]
    at = 0
    for a, b in answers:
        start = max(a - len(before), 0)
        if start > at:
            yield Span(at, start)
        at = max(b - len(before), at)
    if not answers or any(mark in text[at:] for mark in (*HARMONY, "<|start|>")):  # a turn may be cut short
        yield Span(at, len(text))


def _end(text: str, at: int) -> int:
    """Where the message that begins at ``at`` ends."""
    found = [place for mark in _ENDS if (place := text.find(mark, at)) >= 0]
    return min(found, default=len(text))
