"""One row as a prompt: its layout, what stands beside every layout, and no column left out in silence."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from rm_monitor.files.digest import digest
from rm_monitor.prompts.asking import Asked, Fields, said, text_of
from rm_monitor.prompts.beside import BESIDE, Beside, beside
from rm_monitor.prompts.cells import opened
from rm_monitor.prompts.frames import plain
from rm_monitor.prompts.layouts import LAYOUTS, Layout, layout_of
from rm_monitor.prompts.names import kind_of, normal
from rm_monitor.prompts.nested import unwrapped
from rm_monitor.prompts.templates import PARTS
from rm_monitor.prompts.turns import are_turns
from rm_monitor.prompts.within import left_out
from rm_monitor.prompts.written import turns_written
from rm_monitor.text.whole import healed
from rm_monitor.types import Message, Prompt

__all__ = ["Columns", "Reading", "columns_of", "id_of", "read_row"]

IDS = ("id", "prompt_id", "uid", "question_id", "uuid", "doc_id", "custom_id")
_SLICE = re.compile(r"(.+)\[1:\]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """Which columns are read as what, where the table of layouts does not settle it.

    Attributes:
        prompt: The column that is asked; None: by layout.
        id: The column of ids; None: ``id``, ``prompt_id``, ``uid``, ``question_id``, ``uuid``, ``doc_id``.
        tags: The column of tags.
        ignore: Columns that may be left out of what is asked; ``name[1:]``: all but the first of a list.
        raw: Texts are continued as they stand.
    """

    prompt: str | None = None
    id: str | None = None
    tags: str = "tags"
    ignore: tuple[str, ...] = ()
    raw: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a row says.

    Attributes:
        prompt: What is asked.
        fields: Its columns by normal name, in Python's own types.
        names: Normal name of a column -> its own.
        layout: How it was read; None: by a named column, or the row is the prompt itself.
        form: Of what is asked; see `Asked`.
        has_id: Whether the id is the row's own, not a hash.
        texts: Name of a column -> the answer, or other text, in it.
        answers: Names of those of ``texts`` that answer, by layout or by name.
        unasked: Columns of text that are neither asked nor known as anything else.
    """

    prompt: Prompt
    fields: Fields = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)
    layout: Layout | None = None
    form: str = "turns"
    has_id: bool = True
    texts: Mapping[str, str] = field(default_factory=dict)
    answers: tuple[str, ...] = ()
    unasked: tuple[str, ...] = ()


def read_row(value: Any, number: int, columns: Columns | None = None) -> Reading:
    r"""Read one row.

    Args:
        value: A text, a conversation, a mapping of columns, or a `Prompt`.
        number: 1-based, for messages.
        columns: What the user settled.

    Raises:
        ValueError: Why it asks nothing, or which column belongs to the question and would be lost. The
        message
            goes on a sentence that begins with the row's place.

    Example:
        >>> read_row({"instruction": "Explain.", "input": "A tide.", "output": "The sea."}, 1).prompt.text
        'Explain.\nA tide.'
    """
    columns = columns or Columns()
    if isinstance(value, Prompt):
        return Reading(prompt=_healed(value if value.row else replace(value, row=number)))
    if not isinstance(value, Mapping):
        value = healed(plain(value))
        name = "prompt" if isinstance(value, str) else "messages"
        asked = said(value, name, ends_with_answer=True, raw=columns.raw)
        return _reading(asked, Beside(), {}, number, columns, None)
    ignored = {normal(name) for name in columns.ignore if not _SLICE.fullmatch(name)}
    cut = {normal(found[1]) for name in columns.ignore if (found := _SLICE.fullmatch(name))}
    every = columns_of(unwrapped(value))
    if every.get("raw") is True:  # as we write prompts that are continued as they stand
        columns = replace(columns, raw=True)
    named = {normal(name): item for name, item in every.items()}
    fields = {n: _first(item) if n in cut else item for n, item in named.items() if n not in ignored}
    asked, layout = _asked(fields, columns, every)
    if (
        columns.raw
        and asked.form == "transcript"
        and isinstance(text := fields.get((layout or _ANY).asked[0]), str)
    ):
        asked = replace(asked, messages=({"role": "user", "content": text},), form="text")
    asks = layout.asked if layout else ()
    also = beside({n: v for n, v in fields.items() if n not in asks}, asked, stands=columns.raw)
    asked = replace(asked, messages=also.messages)
    return _reading(asked, also, every, number, columns, layout, fields)


_ANY = LAYOUTS[-1]


def _asked(fields: Fields, columns: Columns, row: Mapping[str, Any]) -> tuple[Asked, Layout | None]:
    layout = layout_of(fields)
    if columns.prompt is not None:
        name = normal(columns.prompt)
        if name not in fields:
            raise ValueError(f"has no column {columns.prompt!r}; its columns are {sorted(row)}")
        if layout is None or layout.asked[0] != name:
            return said(
                fields[name], columns.prompt, ends_with_answer=name != "prompt", raw=columns.raw
            ), None
    if layout is None:
        hint = (
            "it holds token ids, and their text is needed"
            if "input_ids" in fields
            else "pass `prompt_column`"
        )
        if {"message_id", "role", "text"} <= fields.keys():
            hint = "each row is one message of a tree (OASST): give the file of trees, or join each path"
        elif "text" in fields:
            hint = '`text` may hold prompt and answer: if it is the prompt alone, pass `prompt_column="text"`'
        raise ValueError(
            f"has none of the columns that ask something (docs/inputs.md): {hint}; it has {sorted(row)}"
        )
    return layout.ask(fields), layout


def _reading(
    asked: Asked, also: Beside, every: Mapping[str, Any], number: int, columns: Columns, layout: Layout |
    None,
    fields: Fields | None = None,
) -> Reading:  # fmt: skip
    names = {normal(name): name for name in every}
    raw = asked.form in ("rendered", "prefix") or (
        columns.raw and asked.form == "text" and len(asked.messages) == 1
    )
    id = id_of(every, columns.id)
    tags = opened(every.get(columns.tags))
    text = asked.messages[0]["content"] if asked.form == "rendered" else ""
    read_back = turns_written(text)
    prompt = Prompt(
        id=id or "",
        messages=read_back or asked.messages,
        raw=raw,
        rendered=text if read_back else "",
        tags=tuple(str(t) for t in (tags if isinstance(tags, list) else [tags]) if t not in (None, "")),
        cluster=str(every.get("cluster") or ""),
        tools=also.tools,
        documents=also.documents,
        template_kwargs=also.template_kwargs,
        parts={} if raw else asked.parts or _parts(every),
        row=number,
    )
    used = {*BESIDE, *((layout.asked + layout.answers) if layout else (normal(columns.prompt or ""),))}
    texts = _texts(every, asked, names)
    told = {names.get(name, name) for name in (*asked.answers, *(layout.answers if layout else ()))}
    if isinstance(every.get("references"), Mapping):
        told |= set(map(str, every["references"]))
    unasked = _unasked({n: v for n, v in (fields or {}).items() if n not in used}, prompt, names)
    return Reading(
        prompt=prompt if id else replace(prompt, id=digest(prompt.question)),
        fields=fields or {},
        names=names,
        layout=layout,
        form=asked.form,
        has_id=id is not None,
        texts=texts,
        answers=tuple(name for name in texts if name in told or kind_of(name) == "answer"),
        unasked=unasked,
    )


def _parts(every: Mapping[str, Any]) -> dict[str, str]:
    """What the turn was joined from, as we write it."""
    given = every.get("parts")
    if not isinstance(given, Mapping) or not given.keys() <= set(PARTS):
        return {}
    return {name: text for name, text in given.items() if isinstance(text, str)}


def columns_of(row: Mapping[Any, Any]) -> dict[str, Any]:
    """A row's columns in Python's own types; what is missing has no key, half an emoji is healed."""
    return {name: item for name, item in healed(plain(row)).items() if item is not None}


def id_of(every: Mapping[str, Any], column: str | None = None) -> str | None:
    """A row's own id as text; None if it has none.

    Raises:
        ValueError: If a named column is missing.

    Example:
        >>> id_of({"uid": 7.0}), id_of({"prompt": "Hi"})
        ('7', None)
    """
    names = {normal(name): name for name in every}
    wanted = (column,) if column else tuple(names[n] for n in IDS if n in names)
    for name in wanted:
        value = every.get(name)
        if isinstance(value, (str, int, float)) and value != "" and not isinstance(value, bool):
            return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
    if column:
        raise ValueError(f"has no `{column}`; its columns are {sorted(every)}")
    return None


def _unasked(left: Fields, prompt: Prompt, names: Mapping[str, str]) -> tuple[str, ...]:
    """Columns of text that are not asked.

    Raises:
        ValueError: If the name of one says that it belongs to the question.
    """
    unknown = []
    for name, value in left.items():
        kind = kind_of(name)
        if kind == "unknown" and (isinstance(value, str) or are_turns(value)):
            unknown.append(names[name])
        elif kind == "question":
            lost = left_out(opened(value), f"{prompt.rendered} {prompt.text} {prompt.template_kwargs}")
            if lost is not None:
                raise ValueError(
                    f"has a column {names[name]!r} that belongs to the question by its name and would not "
                    f"be asked: "
                    f"{lost!r:.60}. Join it with the prompt, name the column that is the whole prompt "
                    f"(`prompt_column`), or pass ignore_columns=[{names[name]!r}]"
                )
    return tuple(unknown)


def _texts(every: Mapping[str, Any], asked: Asked, names: Mapping[str, str]) -> dict[str, str]:
    """Texts that may be references: by column, of the mapping ``references``, and those of the layout."""
    nested = every.get("references")
    found = {
        name: text for name, value in every.items() if (text := text_of(value, asked.messages)) is not None
    }
    if isinstance(nested, Mapping):
        more = {str(n): t for n, v in nested.items() if (t := text_of(v, asked.messages)) is not None}
        found = more | found
    return found | {names.get(name, name): text for name, text in asked.answers.items()}


def _first(value: Any) -> Any:
    """A list of which all but the first may be left out."""
    listed = opened(value)
    return listed[:1] if isinstance(listed, list) else value


def _healed(prompt: Prompt) -> Prompt:
    if healed(list(prompt.messages)) == list(prompt.messages):
        return prompt
    messages: Sequence[Message] = healed([dict(m) for m in prompt.messages])
    return replace(prompt, messages=tuple(messages))
