r"""The turns of a prompt that a chat template has written out, for whoever reads turns: judges and people.

The policy continues such a text as it stands. A judge has a template of its own, in which another's control
tokens would be forged turns: it is given the turns. What is not wholly turns of one known layout stays text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from rm_monitor.text.reasoning import PAIRS, cut
from rm_monitor.types import Message

__all__ = ["turns_written"]

_ROLES = {
    **dict.fromkeys(("user", "human", "USER", "User"), "user"),
    **dict.fromkeys(("assistant", "model", "CHATBOT", "Assistant"), "assistant"),
    **dict.fromkeys(("system", "SYSTEM"), "system"),
    "developer": "developer",
    "tool": "tool",
}
_BOS = (
    r"(?:<s>|<bos>|<\|begin_of_text\|>|<\|endoftext\|>|<｜begin▁of▁sentence｜>|<BOS_TOKEN>|"
    r"<\|startoftext\|>|\[gMASK\]<sop>)?"
)


class _Layout(NamedTuple):
    """How a family of templates writes a turn: what opens it, with its role, and what may close it."""

    opens: str
    closes: str


_WORD = "(?P<role>system|user|human|developer|assistant|tool|model)"
_LAYOUTS = (
    _Layout(rf"<\|im_start\|>{_WORD}\n", r"<\|im_end\|>\n?"),  # ChatML
    _Layout(rf"<\|start_header_id\|>{_WORD}<\|end_header_id\|>\n\n", r"<\|eot_id\|>"),  # Llama 3
    _Layout(rf"<\|header_start\|>{_WORD}<\|header_end\|>\n\n", r"<\|eot\|>"),  # Llama 4
    _Layout(rf"<start_of_turn>{_WORD}\n", r"<end_of_turn>\n?"),  # Gemma
    _Layout(rf"<\|turn>{_WORD}\n", r"<turn\|>\n?"),  # Gemma 4
    _Layout(rf"<\|{_WORD}\|>\n?", r"(?:</s>|<\|end\|>|<\|endoftext\|>)?\n?"),  # Zephyr, Phi, Tulu, GLM
    _Layout(rf"<\|start_of_role\|>{_WORD}<\|end_of_role\|>", r"<\|end_of_text\|>\n?"),  # Granite
    _Layout(
        r"<\|START_OF_TURN_TOKEN\|><\|(?P<role>SYSTEM|USER|CHATBOT)_TOKEN\|>", r"<\|END_OF_TURN_TOKEN\|>"
    ),  # Cohere
    _Layout(rf"\[\|{_WORD}\|\]", r"(?:\[\|endofturn\|\])?\n?"),  # EXAONE
    _Layout(rf"<seed:bos>{_WORD}\n", r"<seed:eos>"),  # Seed
    _Layout(
        rf"<\|start\|>{_WORD}(?:<\|channel\|>final| to=user)?(?:<\|message\|>|$)",
        r"<\|(?:end|return|eot)\|>",
    ),
)  # the last: harmony, whose other channels are no turns of a conversation
_DEEPSEEK = re.compile(r"<｜(?P<role>User|Assistant)｜>")
_MISTRAL = re.compile(r"\[INST\](?P<user>.*?)\[/INST\](?P<assistant>.*?)(?=\[INST\]|$)", re.DOTALL)
_SYS = re.compile(r"\s*<<SYS>>\n(.*?)\n<</SYS>>\n\n(.*)", re.DOTALL)


def turns_written(text: str) -> tuple[Message, ...] | None:
    r"""The turns up to where the text is to be continued; None if it is not wholly turns of a known layout.

    Example:
        >>> turns_written("<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n")
        ({'role': 'user', 'content': 'Hi'},)
        >>> turns_written("<|im_start|>user\nHi<|im_end|> and more <|im_start|>") is None
        True
    """
    for read in (_marked, _deepseek, _mistral):
        found = read(text)
        if found:
            return _asked(found)
    return None


def _marked(text: str) -> list[Message]:
    """Turns of which each has a mark before it and, in most layouts, one behind it."""
    for layout in _LAYOUTS:
        opens = re.compile(layout.opens)
        first = re.match(rf"\s*{_BOS}\s*", text)
        at = first.end() if first else 0
        marks = list(opens.finditer(text, at))
        if not marks or marks[0].start() != at:
            continue
        ends = [mark.start() for mark in marks[1:]] + [len(text)]
        found: list[Message] = []
        for mark, end in zip(marks, ends, strict=True):
            body = re.fullmatch(rf"(.*?)({layout.closes})", text[mark.end() : end], re.DOTALL)
            is_last = end == len(text)
            if body is None and not is_last:
                return []  # something stands between two turns
            content = body[1] if body is not None else text[mark.end() : end]
            found.append({"role": _ROLES[mark["role"]], "content": content.strip()})
        return found
    return []


def _deepseek(text: str) -> list[Message]:
    """DeepSeek: no mark before the system text, and none behind a turn of the user."""
    first = re.match(rf"\s*{_BOS}", text)
    at = first.end() if first else 0
    marks = list(_DEEPSEEK.finditer(text, at))
    if not marks or "<｜" in text[at : marks[0].start()]:
        return []
    system = text[at : marks[0].start()].strip()
    found: list[Message] = [{"role": "system", "content": system}] if system else []
    ends = [mark.start() for mark in marks[1:]] + [len(text)]
    for mark, end in zip(marks, ends, strict=True):
        content = text[mark.end() : end].removesuffix("<｜end▁of▁sentence｜>").strip()
        found.append({"role": _ROLES[mark["role"]], "content": content})
    return found


def _mistral(text: str) -> list[Message]:
    """Llama 2 and Mistral: the instruction in brackets, a system text inside or before it."""
    first = re.match(rf"\s*{_BOS}\s*(?:\[SYSTEM_PROMPT\](.*?)\[/SYSTEM_PROMPT\])?", text, re.DOTALL)
    at = first.end() if first else 0
    marks = list(_MISTRAL.finditer(text, at))
    if not marks or marks[0].start() != at:
        return []
    found: list[Message] = [{"role": "system", "content": first[1].strip()}] if first and first[1] else []
    for mark in marks:
        asked = mark["user"].strip()
        if inner := _SYS.fullmatch(asked):
            found.append({"role": "system", "content": inner[1].strip()})
            asked = inner[2].strip()
        found.append({"role": "user", "content": asked})
        answer = re.sub(r"</s>\s*(?:<s>)?\s*$", "", mark["assistant"]).strip()
        found.append({"role": "assistant", "content": answer})
    return found


def _asked(found: Sequence[Message]) -> tuple[Message, ...] | None:
    """The turns without the one that is to be written; None if it is begun, or nothing is asked."""
    turns = [turn for turn in found if turn["role"] != "system" or turn["content"]]
    if turns and turns[-1]["role"] == "assistant" and _begins_nothing(turns[-1]["content"]):
        turns.pop()
    for turn in turns:  # the reasoning of an earlier answer is no part of what was said
        if turn["role"] == "assistant":
            turn["content"] = cut(turn["content"])[0].strip()
    empty = any(not turn["content"] for turn in turns)
    control = any("<|" in turn["content"] or "<｜" in turn["content"] for turn in turns)
    if not turns or turns[-1]["role"] not in ("user", "tool") or empty or control:
        return None
    return tuple(turns)


def _begins_nothing(content: str) -> bool:
    """Whether an answer holds no word yet: at most a block of reasoning, open or empty."""
    opened = [pair.opens for pair in PAIRS]
    closed = [pair.opens + pair.closes for pair in PAIRS]
    return "".join(content.split()) in ("", *opened, *closed)
