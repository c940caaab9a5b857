"""How the columns of a row become what is asked: one small function for each way of writing it down."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias

from rm_monitor.prompts.cells import opened
from rm_monitor.prompts.rendered import is_rendered
from rm_monitor.prompts.turns import are_turns, split, transcript, turns
from rm_monitor.types import Message

__all__ = ["Asked", "Fields", "if_text", "said", "text_of", "user_turn"]

Fields: TypeAlias = Mapping[str, Any]  # normal name of a column -> its value; what is missing has no key


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a row asks, and the answers that only its layout knows to find.

    Attributes:
        messages: The turns up to where the model is to answer.
        form: ``text`` one plain text, ``rendered`` a text with a template's control tokens, ``transcript``
        turns
            that came as text, ``prefix`` a text to be gone on with, ``turns``.
        answers: Name of a column -> text of the answer in it.
        parts: Column -> text, where one turn is asked that several columns may be joined in.
    """

    messages: tuple[Message, ...]
    form: Literal["text", "rendered", "transcript", "prefix", "turns"] = "turns"
    answers: Mapping[str, str] = field(default_factory=dict)
    parts: Mapping[str, str] = field(default_factory=dict)


def said(value: Any, name: str, *, ends_with_answer: bool = False, raw: bool = False) -> Asked:
    """What one value asks: text, a transcript, a rendered prompt or turns.

    Args:
        value: The value of the column.
        name: Of the column, for errors and for the answer found in it.
        ends_with_answer: An answer at the end is a reference; else it is refused, for nothing is left to ask.
        raw: Text is taken as it stands, whatever it looks like.

    Raises:
        ValueError: If it is empty, of another kind, or leaves nothing to answer.
    """
    if not raw:
        value = opened(value) if are_turns(opened(value)) else value
    if isinstance(value, str):
        if not value.strip():
            raise ValueError(f"`{name}` is empty")
        if raw or is_rendered(value):
            return Asked(messages=user_turn(value), form="text" if raw else "rendered")
        found = transcript(value)
        if found is None:
            return Asked(messages=user_turn(value), form="text")
        form: Literal["transcript", "turns"] = "transcript"
    elif isinstance(value, (list, tuple)) and value:
        try:
            found, form = turns(value), "turns"
        except ValueError as problem:
            raise ValueError(f"`{name}`: {problem}") from problem
    else:
        raise ValueError(
            f"`{name}` must be text or a list of messages, got {type(value).__name__} {value!r:.60}"
        )
    if found[-1]["role"] == "assistant" and not ends_with_answer:
        raise ValueError(
            f"`{name}` leaves nothing to answer: its last message must not come from the assistant. "
            "Drop the last turn, or name another `prompt_column`"
        )
    asked, answer = split(found)
    if not any(message["content"].strip() for message in asked):
        raise ValueError(f"`{name}` is empty")
    return Asked(
        messages=asked, form=form, answers={name: answer["content"]} if answer and answer["content"] else {}
    )


def column(
    name: str, *beside: str, first: bool = True, ends_with_answer: bool = False
) -> Callable[[Fields], Asked]:
    """Ask one column, and the texts of others with it: after it, or before it (``first=False``)."""

    def ask(fields: Fields) -> Asked:
        asked = said(fields[name], name, ends_with_answer=ends_with_answer)
        more = [other for other in beside if fields.get(other) not in (None, "")]
        parts = {n: str(fields[n]) for n in (name, *more)} if beside and asked.form == "text" else {}
        if not more:
            return replace(asked, parts=parts)
        if asked.form != "text" or not all(isinstance(fields[other], str) for other in more):
            raise ValueError(f"`{name}` and {_names(more)} are joined only where each is plain text")
        texts = [asked.messages[0]["content"], *(fields[other] for other in more)]
        return Asked(
            messages=user_turn(("\n" if first else "\n\n").join(texts if first else texts[::-1])),
            form="text",
            parts=parts,
        )

    return ask


def conversation(*names: str) -> Callable[[Fields], Asked]:
    """Ask the first of these columns that is there; an answer at its end is a reference."""

    def ask(fields: Fields) -> Asked:
        name = next(n for n in names if n in fields)
        return said(fields[name], name, ends_with_answer=True)

    return ask


def common_turns(first: str, second: str) -> Callable[[Fields], Asked]:
    """Ask what two conversations share from their beginning; each goes on with its answer."""

    def ask(fields: Fields) -> Asked:
        a = said(fields[first], first, ends_with_answer=True)
        if second not in fields:
            return a
        both = [_all(fields[name]) for name in (first, second)]
        n = next((i for i, (x, y) in enumerate(zip(*both, strict=False)) if x != y), min(map(len, both)))
        shared = both[0][:n]
        if shared and shared[-1]["role"] == "assistant":
            if n < min(map(len, both)):
                raise ValueError(
                    f"`{first}` and `{second}` part in a turn of the user: they ask different things"
                )
            shared = shared[:-1]  # equal to the end, or one is where the other stops
        if not shared:
            raise ValueError(f"`{first}` and `{second}` have no turn in common: give a `prompt` column")
        answers = {
            name: t
            for name, turn in zip((first, second), both, strict=True)
            if (t := _next(turn, len(shared)))
        }
        return Asked(messages=shared, form=a.form, answers=answers)

    return ask


def common_text(fields: Fields) -> Asked:
    """Ask the words that ``chosen`` and ``rejected`` begin with, as TRL's implicit prompt has it."""
    chosen, rejected = fields["chosen"], fields["rejected"]
    n = next((i for i, (x, y) in enumerate(zip(chosen, rejected, strict=False)) if x != y), 0)
    n = max(chosen.rfind(" ", 0, n), chosen.rfind("\n", 0, n))  # before the space, as TRL
    if n <= 0 or not chosen[:n].strip():
        raise ValueError(
            "`chosen` and `rejected` begin with no words in common, and there is no `prompt` column"
        )
    return Asked(
        messages=user_turn(chosen[:n]),
        form="prefix",
        answers={"chosen": chosen[n:], "rejected": rejected[n:]},
    )


def first_turn(fields: Fields) -> Asked:
    """Ask the one turn of ``turns``: several would need the model's own answers in between."""
    asked = [
        t["content"] if isinstance(t, Mapping) and "content" in t else t for t in opened(fields["turns"])
    ]
    if len(asked) > 1:
        raise ValueError(
            f"`turns` holds {len(asked)} turns of the user, and all but the first follow answers that no row "
            'holds: pass ignore_columns=["turns[1:]"] to ask the first alone'
        )
    found = said(asked[0] if asked else "", "turns")
    reference = fields.get("reference")
    if isinstance(reference, (list, tuple)) and reference and isinstance(reference[0], str):
        return Asked(messages=found.messages, form=found.form, answers={"reference": reference[0]})
    return found


def text_of(value: Any, asked: Sequence[Message]) -> str | None:
    """The text of an answer in a column; of a conversation, what follows ``asked``; None without one."""
    if isinstance(value, str):
        found = transcript(value) or (opened(value) if are_turns(opened(value)) else None)
        if found is None:
            return value
        value = found
    if isinstance(value, Mapping) and are_turns([value]):  # LLaMA-Factory's pairs: the answer alone
        value = [value]
    if isinstance(value, (list, tuple)) and len(value) == 1 and isinstance(value[0], str):
        return value[0]
    if are_turns(value):
        try:
            return _next(turns(value), len(asked) if asked else -1, asked)
        except ValueError:
            return None
    return None


def _all(value: Any) -> tuple[Message, ...]:
    found = transcript(value) if isinstance(value, str) else None
    return found if found is not None else turns(opened(value))


def _next(found: Sequence[Message], start: int, asked: Sequence[Message] = ()) -> str | None:
    """The answer after so many turns if they are what is asked, else the one at the end."""
    if start > 0 and (not asked or [_bare(m) for m in found[:start]] == [_bare(m) for m in asked]):
        rest = found[start:]
        if rest and rest[0]["role"] == "assistant" and rest[0]["content"]:
            return rest[0]["content"]
    last = found[-1] if found else None
    return last["content"] or None if last and last["role"] == "assistant" else None


def _bare(message: Message) -> tuple[str, str]:
    return message["role"], message["content"]


def user_turn(text: str) -> tuple[Message, ...]:
    """One turn of the user."""
    return ({"role": "user", "content": text},)


def if_text(name: str, value: Any) -> dict[str, str]:
    """An answer by its name, where the value is one: a text that is not blank, or a number."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        value = str(value)
    return {name: value} if isinstance(value, str) and value.strip() else {}


def _names(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
