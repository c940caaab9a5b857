"""How the columns of a row become what is asked: one small function for each way of writing it down."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias

from rm_monitor.prompts.cells import opened
from rm_monitor.prompts.rendered import is_rendered
from rm_monitor.prompts.turns import are_turns, split, transcript, turns
from rm_monitor.types import Message

__all__ = ["Asked", "Fields", "said", "text_of"]

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
            return Asked(messages=_user(value), form="text" if raw else "rendered")
        found = transcript(value)
        if found is None:
            return Asked(messages=_user(value), form="text")
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
            messages=_user(("\n" if first else "\n\n").join(texts if first else texts[::-1])),
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
        messages=_user(chosen[:n]), form="prefix", answers={"chosen": chosen[n:], "rejected": rejected[n:]}
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


def inspect_sample(fields: Fields) -> Asked:
    """Ask what the model was asked by an Inspect log; its answer is ``output``, the goal ``target``."""
    log = fields.get("messages")
    name = "messages" if log else "input"
    asked = said(log or fields["input"], name, ends_with_answer=True)
    answers = dict(zip(["output"], asked.answers.values(), strict=False))
    output = fields.get("output")
    if isinstance(output, Mapping) and isinstance(output.get("completion"), str):
        answers["output"] = output["completion"]
    target = fields.get("target")
    target = target[0] if isinstance(target, (list, tuple)) and target else target
    return Asked(messages=asked.messages, form=asked.form, answers=answers | _if_text("target", target))


def lm_eval_sample(fields: Fields) -> Asked:
    """Ask the text that lm-eval gave to the model; its answer is ``resps``, the goal ``target``."""
    given = fields["arguments"]
    calls = list(given.values()) if isinstance(given, Mapping) else list(given)
    contexts = [call.get("arg_0") if isinstance(call, Mapping) else call[0] for call in calls]
    if len({str(context) for context in contexts}) != 1:
        raise ValueError("`arguments` holds several contexts for one document: there is no one prompt to ask")
    asked = said(contexts[0], "arguments")
    form = "rendered" if asked.form == "text" else asked.form  # it is what the model was given, word for word
    answer = fields.get("resps")
    while isinstance(answer, (list, tuple)) and answer:
        answer = answer[0]
    answers = _if_text("resps", answer) | _if_text("target", fields.get("target"))
    return Asked(messages=asked.messages, form=form, answers=answers)


def openai_preference(fields: Fields) -> Asked:
    """Ask ``input.messages`` of OpenAI's preference format."""
    asked = said(fields["input"]["messages"], "input")
    answers = {n: text_of(fields[n], ()) for n in ("preferred_output", "non_preferred_output") if n in fields}
    return Asked(messages=asked.messages, answers={n: t for n, t in answers.items() if t})


def verl_row(fields: Fields) -> Asked:
    """Ask ``prompt``; the rule's ``ground_truth`` is the reference."""
    asked = said(fields["prompt"], "prompt")
    goal = fields["reward_model"].get("ground_truth")
    return Asked(messages=asked.messages, form=asked.form, answers=_if_text("ground_truth", goal))


def text_of(value: Any, asked: Sequence[Message]) -> str | None:
    """The text of an answer in a column; of a conversation, what follows ``asked``; None without one."""
    if isinstance(value, str):
        found = transcript(value) or (opened(value) if are_turns(opened(value)) else None)
        if found is None:
            return value
        value = found
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


def _user(text: str) -> tuple[Message, ...]:
    return ({"role": "user", "content": text},)


def _if_text(name: str, value: Any) -> dict[str, str]:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        value = str(value)
    return {name: value} if isinstance(value, str) and value.strip() else {}


def _names(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
