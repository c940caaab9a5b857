"""Turns of a conversation from the ways in which data sets write them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

from rm_monitor.prompts.frames import without_none
from rm_monitor.types import Message

__all__ = ["are_turns", "split", "transcript", "turns"]

ROLES = {
    **{"human": "user", "prompter": "user", "instruction": "user"},
    **dict.fromkeys(("gpt", "chatgpt", "chatbot", "model", "bot", "ai"), "assistant"),
    **{role: role for role in ("system", "developer", "user", "assistant", "tool", "function")},
    **{"observation": "tool", "function_response": "tool", "tool_response": "tool"},
}
_SPEAKER = (
    ("role", "content"),
    ("from", "value"),
    ("role", "value"),
    ("from", "content"),
    ("speaker", "text"),
    ("role", "parts"),  # Gemini
)
# What collections write beside a turn and no template reads.
_NEUTRAL = {
    *(
        "country",
        "hashed_ip",
        "language",
        "redacted",
        "state",
        "timestamp",
        "toxic",
        "turn_identifier",
        "header",
    ),
    *(
        "id",
        "weight",
        "loss",
        "train",
        "end_turn",
        "model",
        "score",
        "source",
        "prefix",
        "openai_id",
        "metadata",
    ),
    *("markdown", "html", "created_at", "refusal", "annotations", "mask", "turn_id", "message_id", "lang"),
}
_SEEN_OR_HEARD = ("image", "images", "video", "videos", "audio", "audios", "files")
_TEXT_PARTS = {"text", "input_text", "output_text"}
_HH = re.compile(r"(?:^|\n\n)(Human|Assistant):[ ]?")
_HASHED = re.compile(r"\s*### (Human|Assistant):[ ]?")  # Guanaco
_EXTRA_ID = re.compile(r"\n<extra_id_1>(User|Assistant)\n")  # HelpSteer2


def are_turns(value: Any) -> bool:
    """Whether a value is meant as a conversation: a list of mappings, each with a speaker.

    Example:
        >>> are_turns([{"from": "human", "value": "Hi"}]), are_turns(["Hi"]), are_turns("Hi")
        (True, False, False)
    """
    return (
        isinstance(value, (list, tuple))
        and bool(value)
        and all(
            isinstance(turn, Mapping) and (_speaker(turn) or {"input", "output"} <= turn.keys())
            for turn in value
        )
    )


def turns(value: Sequence[Any]) -> tuple[Message, ...]:
    """The turns, each with all that a chat template may read.

    Raises:
        ValueError: Of a turn without a role or text, or with an image: which, and what it holds.

    Example:
        >>> turns([{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello!"}])
        ({'role': 'user', 'content': 'Hi'}, {'role': 'assistant', 'content': 'Hello!'})
    """
    found: list[Message] = []
    for number, turn in enumerate(value, 1):
        if not isinstance(turn, Mapping):
            raise ValueError(f"a conversation is a list of turns, and turn {number} is {_short(turn)}")
        if {"input", "output"} <= turn.keys() and not _speaker(turn):  # Capybara: question and answer in one
            found.append({"role": "user", "content": _content(turn["input"], number, turn)})
            found.append({"role": "assistant", "content": _content(turn["output"], number, turn)})
            continue
        names = _speaker(turn)
        if names is None:
            raise ValueError(
                f"a message has a `role` and a text `content`, and turn {number} is {_short(turn)}"
            )
        if turn.get(names[1]) is None and turn[names[0]].lower() in ("system", "developer"):
            continue  # Arrow has a place for a system text in every row
        found.append(_message(turn, *names, number))
    return tuple(found)


def split(found: Sequence[Message]) -> tuple[tuple[Message, ...], Message | None]:
    """What is asked, and the answer that a conversation ends with, if it does.

    Raises:
        ValueError: If nothing is asked.
    """
    answer = found[-1] if found and found[-1]["role"] == "assistant" else None
    asked = tuple(found[:-1] if answer is not None else found)
    if not asked:
        raise ValueError("leaves nothing to answer: its only message comes from the assistant")
    if asked[-1]["role"] == "assistant":
        raise ValueError(
            "leaves nothing to answer: its last two messages both come from the assistant. "
            "Join them, or drop the last"
        )
    return asked, answer


def transcript(text: str) -> tuple[Message, ...] | None:
    r"""The turns of a text of ``Human:`` and ``Assistant:`` paragraphs (HH, Nectar, HelpSteer2), or None.

    An empty answer at the end is where the model is to go on, and no turn.

    Example:
        >>> transcript("\n\nHuman: Hi\n\nAssistant:")
        ({'role': 'user', 'content': 'Hi'},)
        >>> transcript("What does Human: mean?") is None
        True
    """
    parts = _HH.split(text) if re.match(r"\s*Human:", text) and "\n\nAssistant:" in text else []
    if _HASHED.match(text) and "### Assistant:" in text:
        parts = _HASHED.split(text)
    names = {"Human": "user", "User": "user", "Assistant": "assistant"}
    if not parts or parts[0].strip():
        parts = _EXTRA_ID.split("\n<extra_id_1>User\n" + text)
        if len(parts) <= 3:
            return None
    found: list[Message] = [
        {"role": names[name], "content": content.strip()}
        for name, content in zip(parts[1::2], parts[2::2], strict=True)
    ]
    if found[-1] == {"role": "assistant", "content": ""}:
        del found[-1]
    return tuple(found) or None


def _speaker(turn: Mapping[str, Any]) -> tuple[str, str] | None:
    """The keys of who speaks and what is said."""
    for who, what in _SPEAKER:
        if isinstance(turn.get(who), str) and turn[who] and (what in turn or turn.get("tool_calls")):
            return who, what
    return None


def _message(turn: Mapping[str, Any], who: str, what: str, number: int) -> Message:
    role = ROLES.get(turn[who].lower(), turn[who])
    more = {k: v for k, v in turn.items() if k not in (who, what) and v is not None and k not in _NEUTRAL}
    seen = [name for name in _SEEN_OR_HEARD if turn.get(name)]
    if seen:
        raise ValueError(f"turn {number} holds `{seen[0]}`: only text is asked and judged")
    if turn[who] in ("function_call", "tool_call") and isinstance(turn.get(what), str):
        try:
            called = json.loads(turn[what])
        except ValueError:
            called = {"name": "", "arguments": turn[what]}
        calls = [
            {"type": "function", "function": c} for c in (called if isinstance(called, list) else [called])
        ]
        return {"role": "assistant", "content": "", "tool_calls": calls}
    content = turn.get(what)
    if isinstance(content, (list, tuple)) and (
        thought := "\n".join(
            str(p["reasoning"]) for p in content if _is(p, "reasoning") and p.get("reasoning")
        )
    ):
        more.setdefault("reasoning_content", thought)
    text = "" if content is None and more.get("tool_calls") else _content(content, number, turn)
    return cast("Message", {"role": role, "content": text, **without_none(more)})


def _content(content: Any, number: int, turn: Mapping[str, Any]) -> str:
    """Text, or the joined texts of parts."""
    if isinstance(content, str):
        return content
    if isinstance(content, (list, tuple)) and content:
        parts = [{"type": "text", "text": part} if isinstance(part, str) else part for part in content]
        parts = [part for part in parts if not _is(part, "reasoning")]
        parts = [{"type": "text", **p} if isinstance(p, Mapping) and set(p) == {"text"} else p for p in parts]
        other = sorted({str(p.get("type")) for p in parts if isinstance(p, Mapping)} - _TEXT_PARTS)
        if other:
            raise ValueError(
                f"turn {number} holds a part of type {', '.join(other)}: only text is asked and judged"
            )
        if all(isinstance(p, Mapping) and isinstance(p.get("text"), str) for p in parts):
            return "".join(p["text"] for p in parts)
    raise ValueError(f"a message has a `role` and a text `content`, and turn {number} is {_short(turn)}")


def _is(part: Any, kind: str) -> bool:
    return isinstance(part, Mapping) and part.get("type") == kind


def _short(value: Any) -> str:
    return f"{value!r:.200}"
