"""Columns beside any layout: system text, tools, documents, template arguments, earlier turns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rm_monitor.prompts.asking import Asked, Fields
from rm_monitor.prompts.cells import opened
from rm_monitor.prompts.frames import without_none
from rm_monitor.prompts.turns import are_turns, turns
from rm_monitor.prompts.within import left_out
from rm_monitor.types import Message

__all__ = ["BESIDE", "Beside", "beside"]

_SYSTEM = ("system", "system_prompt", "system_message", "system_instruction")
_TOOLS = ("tools", "functions")
_SWITCHES = ("enable_thinking", "reasoning_effort")  # arguments of templates that some sets keep in columns
BESIDE = (*_SYSTEM, *_TOOLS, *_SWITCHES, "documents", "chat_template_kwargs", "history")


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """What goes with the turns of a prompt.

    Attributes:
        messages: The turns, with the system text and earlier turns in their places.
        tools: See `Prompt`, as the others.
        documents: As above.
        template_kwargs: As above.
    """

    messages: tuple[Message, ...] = ()
    tools: tuple[Mapping[str, Any], ...] = ()
    documents: tuple[Mapping[str, Any], ...] = ()
    template_kwargs: Mapping[str, Any] = field(default_factory=dict)


def beside(fields: Fields, asked: Asked, *, stands: bool = False) -> Beside:
    """Read them.

    Args:
        fields: The columns of the row.
        asked: What its layout asks.
        stands: Plain text is continued as it stands, so that nothing can be put around it.

    Raises:
        ValueError: Which column cannot be joined with what is asked.
    """
    present = {name: opened(fields[name]) for name in BESIDE if fields.get(name) not in (None, "", [], {})}
    if asked.form in ("rendered", "prefix") or (stands and asked.form == "text"):
        content = asked.messages[0]["content"]
        names = [name for name in present if name not in (*_SWITCHES, "chat_template_kwargs")]
        lost = [name for name in names if left_out(present[name], content) is not None]
        if lost:
            raise ValueError(
                f"has a prompt that is continued as it stands, and a column {lost[0]!r} that could not be "
                f"asked with "
                f"it: pass ignore_columns={lost} if the prompt holds it already"
            )
        return Beside(messages=asked.messages)
    messages = _with_history(asked.messages, present.get("history"))
    for name in _SYSTEM:
        if name in present:
            messages = _with_system(messages, present[name], name)
    kwargs = {name: present[name] for name in _SWITCHES if name in present}
    more = present.get("chat_template_kwargs", {})
    if not isinstance(more, Mapping):
        raise ValueError(
            f"`chat_template_kwargs` must be a mapping of a template's variables, got {more!r:.60}"
        )
    tools = tuple(tool for name in _TOOLS if name in present for tool in _tools(present[name], name))
    return Beside(
        messages=messages,
        tools=tools,
        documents=_documents(present.get("documents", [])),
        template_kwargs={**kwargs, **{name: value for name, value in more.items() if value is not None}},
    )


def _with_system(messages: tuple[Message, ...], text: Any, name: str) -> tuple[Message, ...]:
    if isinstance(text, Mapping) and set(text) <= {"role", "parts"} and "parts" in text:  # Gemini
        text = text["parts"]
    if isinstance(text, list):  # Anthropic, Bedrock
        text = turns([{"role": "system", "content": text}])[0]["content"]
    if not isinstance(text, str):
        raise ValueError(f"`{name}` must be text, got {type(text).__name__}")
    if not text.strip():
        return messages
    own = [m["content"] for m in messages if m["role"] in ("system", "developer")]
    if own and any(text.strip() in content for content in own):
        return messages
    if own:
        raise ValueError(
            f"has a system turn and another system text in {name!r}: leave one out, with "
            f"ignore_columns=[{name!r}]"
        )
    return ({"role": "system", "content": text}, *messages)


def _with_history(messages: tuple[Message, ...], history: Any) -> tuple[Message, ...]:
    """Earlier turns, as pairs (LLaMA-Factory) or as turns."""
    if not history:
        return messages
    if are_turns(history):
        earlier: Sequence[Message] = turns(history)
    elif isinstance(history, list) and all(isinstance(x, list) and len(x) == 2 for x in history):
        roles = ("user", "assistant")
        earlier = [
            {"role": r, "content": str(t)} for pair in history for r, t in zip(roles, pair, strict=True)
        ]
    else:
        raise ValueError(
            "`history` must be earlier turns or pairs of question and answer; "
            'pass ignore_columns=["history"] if it is not part of what is asked'
        )
    if len(messages) > 1:
        raise ValueError(
            '`history` stands beside a conversation: join them, or pass ignore_columns=["history"]'
        )
    return (*earlier, *messages)


def _tools(value: Any, name: str) -> list[Mapping[str, Any]]:
    listed = [opened(tool) for tool in (value if isinstance(value, list) else [value])]
    if not all(isinstance(tool, Mapping) for tool in listed):
        raise ValueError(
            f"`{name}` must be a list of schemas (JSON), got {value!r:.60}: of a Python function, "
            "pass transformers.utils.get_json_schema(function)"
        )
    if name == "functions":  # OpenAI's older form
        listed = [tool if "function" in tool else {"type": "function", "function": tool} for tool in listed]
    return [without_none(tool) for tool in listed]


def _documents(value: Any) -> tuple[Mapping[str, Any], ...]:
    listed = value if isinstance(value, list) else [value]
    documents = [{"text": item} if isinstance(item, str) else item for item in listed]
    if not all(isinstance(item, Mapping) for item in documents):
        raise ValueError(f"`documents` must be a list of texts or mappings, got {value!r:.60}")
    return tuple(without_none(item) for item in documents)
