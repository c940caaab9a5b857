"""Does a reward model read all that is asked? What of a prompt its template leaves out, found on the ids.

Templates drop turns without a word: system turns, tool results, what stands before ``</think>`` in an earlier
answer. Such a model scores an answer to another question, which its user should know.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, cast

from rm_monitor.types import Message, Prompt

__all__ = ["Part", "ignored", "left_out", "parts", "shape"]

_NAMES = ("role", "name", "tool_call_id", "id", "type")  # they connect turns and are no text of their own
_MARK = " zqkx"  # words that no template writes by itself
Ids = Sequence[int]


class Part(NamedTuple):
    """A piece of what is asked: its name for people, and the texts in it."""

    name: str
    texts: tuple[str, ...]


def parts(prompt: Prompt) -> Iterator[Part]:
    """What is asked, piece by piece.

    Example:
        >>> asked = Prompt(id="p", messages=({"role": "system", "content": "Be brief."},
        ...                                  {"role": "user", "content": "Hi"}))
        >>> [part.name for part in parts(asked)]
        ['turn 1 (system)', 'turn 2 (user)']
    """
    for number, message in enumerate(prompt.messages, 1):
        where = f"turn {number} ({message['role']})"
        if message["content"].strip():
            yield Part(where, (message["content"],))
        for key, value in message.items():
            if key not in ("content", *_NAMES) and (texts := tuple(_leaves(value))):
                yield Part(f"`{key}` of {where}", texts)
    tools = tuple(text for tool in prompt.tools for text in _described(tool))
    if tools:
        yield Part("the tools", tools)
    documents = tuple(text for document in prompt.documents for text in _leaves(document))
    if documents:
        yield Part("the documents", documents)


def shape(prompt: Prompt) -> tuple[Any, ...]:
    """What a template decides by: roles in order, and what else there is."""
    turns = tuple((m["role"], *sorted(set(m) - {"role", "content"})) for m in prompt.messages)
    return turns, bool(prompt.tools), bool(prompt.documents)


def left_out(prompt: Prompt, ids: Ids, tokenizer: Any) -> list[str]:
    """Names of the parts whose text is not in the ids.

    Both sides go through the tokenizer, so that what it changes (case, accents, unknown characters) is no
    difference; blanks never are.
    """
    read = _squash(tokenizer.decode(list(ids), skip_special_tokens=False))

    def is_read(text: str) -> bool:
        forms = (text, json.dumps(text, ensure_ascii=False)[1:-1], json.dumps(text)[1:-1])
        return any(_squash(_through(tokenizer, form)) in read for form in dict.fromkeys(forms))

    return [part.name for part in parts(prompt) if not all(is_read(text) for text in part.texts)]


def ignored(prompt: Prompt, ids: Ids, render: Callable[[Prompt], Ids]) -> list[str]:
    """Names of the turns that make no difference to the ids: a text may stand in another turn as well."""
    found = []
    for i, message in enumerate(prompt.messages):
        if message["content"].strip():
            changed = cast("Message", {**message, "content": message["content"] + _MARK})
            other = replace(prompt, messages=(*prompt.messages[:i], changed, *prompt.messages[i + 1 :]))
            if tuple(render(other)) == tuple(ids):
                found.append(f"turn {i + 1} ({message['role']})")
    return found


def _leaves(value: Any) -> Iterator[str]:
    """Every text in nested values, names apart."""
    if isinstance(value, str):
        if value.strip():
            yield value
    elif isinstance(value, Mapping):
        for key, one in value.items():
            if key not in ("type", "id", "tool_call_id"):
                yield from _leaves(one)
    elif isinstance(value, Sequence):
        for one in value:
            yield from _leaves(one)


def _described(tool: Any) -> Iterator[str]:
    """Names and descriptions in a tool's schema: how the rest is written is the template's affair."""
    if isinstance(tool, Mapping):
        for key, value in tool.items():
            if key in ("name", "description") and isinstance(value, str) and value.strip():
                yield value
            else:
                yield from _described(value)
    elif isinstance(tool, Sequence) and not isinstance(tool, str):
        for one in tool:
            yield from _described(one)


def _through(tokenizer: Any, text: str) -> str:
    encoded = tokenizer(text, add_special_tokens=False, truncation=False, padding=False, verbose=False)
    return str(tokenizer.decode(encoded["input_ids"], skip_special_tokens=False))


def _squash(text: str) -> str:
    return "".join(text.split()).casefold()
