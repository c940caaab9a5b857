"""Answers that stand somewhere, and whose each is: by the id of the prompt first, then by what it asks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rm_monitor.files.digest import digest
from rm_monitor.prompts.asking import text_of
from rm_monitor.prompts.names import kind_of, normal
from rm_monitor.prompts.reading import Reading, columns_of, id_of, read_row
from rm_monitor.prompts.rows import name_of, read_rows
from rm_monitor.text.whole import healed
from rm_monitor.types import Completion, FinishReason, Prompt

__all__ = ["Answer", "matched", "named", "one_each", "read_answers"]

# In which column an answer is looked for, the first that a row has.
_TEXT = (
    *(
        "completion",
        "output",
        "response",
        "answer",
        "text",
        "reference",
        "generation",
        "generated_text",
        "prediction",
    ),
    *(
        "model_output",
        "output_text",
        "resps",
        "solution",
        "target",
        "ground_truth",
        "chosen",
        "preferred_output",
    ),
    *("messages", "conversations", "conversation", "dialogue", "dialog", "chat", "completions"),
)
_ENDS: dict[str, FinishReason] = {
    "stop": "stop",
    "eos": "stop",
    "end_turn": "stop",
    "length": "length",
    "max_tokens": "length",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One answer, and what tells whose it is.

    Attributes:
        text: The answer; blank where none was given.
        place: Where it stands, for people.
        id: Of its prompt; None: the row has none.
        prompt: What it answers; None: the row does not say.
        finish_reason: ``stop``, ``length``, or ``unknown``.
    """

    text: str
    place: str
    id: str | None = None
    prompt: Prompt | None = None
    finish_reason: FinishReason = "unknown"


def read_answers(source: Any, *, column: str | None = None) -> list[Answer]:
    """The answers of a file, a dataset or a list, in order.

    Args:
        source: As for `load_prompts`; rows may also be plain texts or `Completion`. A mapping of ids (or of
            texts of prompts) to answers works as well.
        column: The column of the answers; None: ``completion``, ``output``, ``response``, ``answer``,
        ``text``,
            ``reference`` ..., or the only one that can be it.

    Raises:
        ValueError: If a row holds no answer: with its place.

    Example:
        >>> [a.text for a in read_answers([{"id": 1, "output": "Hello!"}, {"id": 2, "output": "Ho!"}])]
        ['Hello!', 'Ho!']
    """
    if isinstance(source, Mapping) and all(isinstance(text, str) for text in source.values()):
        return [_keyed(str(key), text) for key, text in source.items()]
    rows = list(read_rows(source))
    if not rows:
        raise ValueError(f"{name_of(source)} holds no answers")
    found = []
    for number, row in enumerate(rows, 1):
        try:
            found.append(_read(row.value, number))
        except ValueError as problem:
            raise ValueError(f"{row.place} {problem}") from problem
    name = _column(found, column, source)
    return [_answer(row.value, row.place, read, name) for row, read in zip(rows, found, strict=True)]


def matched(answers: Sequence[Answer], prompts: Sequence[Prompt], *, what: str) -> list[list[Answer]]:
    """The answers of each prompt, in prompt order; an empty list where there is none.

    Args:
        answers: From `read_answers`. If no row says what it answers, they are taken in order.
        prompts: Whose answers are looked for.
        what: Name of the argument, for errors.

    Raises:
        ValueError: If answers in order are not one a prompt, or an id stands beside another prompt's
        question.
    """
    if all(answer.id is None and answer.prompt is None for answer in answers):
        if len(answers) != len(prompts):
            raise ValueError(
                f"`{what}` must have one text a prompt: {len(answers)} texts for {len(prompts)} prompts. "
                "Give rows with an `id` or a `prompt` to match them by"
            )
        return [[answer] for answer in answers]
    by_id: dict[str, list[Answer]] = {}
    by_question: dict[str, list[Answer]] = {}
    for answer in answers:
        if answer.id is not None:
            by_id.setdefault(answer.id, []).append(answer)
        for key in _keys(answer.prompt) if answer.prompt else ():
            by_question.setdefault(key, []).append(answer)
    asked = {key: prompt for prompt in reversed(prompts) for key in _keys(prompt)}
    for prompt in prompts:
        for answer in by_id.get(prompt.id, ()):
            _check_same(answer, prompt, asked, what)
    return [
        by_id.get(prompt.id) or next((by_question[k] for k in _keys(prompt) if k in by_question), [])
        for prompt in prompts
    ]


def one_each(found: Sequence[Sequence[Answer]], prompts: Sequence[Prompt], *, what: str) -> list[str | None]:
    """The one answer of each prompt; None where there is none or it is blank.

    Raises:
        ValueError: If a prompt has several that differ: which, and where they stand.
    """
    for prompt, answers in zip(prompts, found, strict=True):
        if len({answer.text for answer in answers}) > 1:
            places = ", ".join(answer.place for answer in answers[:4])
            key = f"the id {prompt.id!r}" if answers[0].id == prompt.id else "one question"
            raise ValueError(
                f"`{what}` holds {len(answers)} different answers under {key} ({places}) for prompt "
                f"{prompt.label}: "
                "keep one of them"
            )
    return [answers[0].text if answers and answers[0].text.strip() else None for answers in found]


def named(prompts: Sequence[Prompt], most: int = 5) -> str:
    """Prompts in a message, the first few.

    Example:
        >>> named([Prompt(id="a", messages=({"role": "user", "content": "Hi"},), row=3)])
        "row 3 'Hi'"
    """
    told = ", ".join(prompt.label for prompt in prompts[:most])
    return told + (f" and {len(prompts) - most} more" if len(prompts) > most else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Read:
    """A row of columns: whose answer, and its texts by column."""

    id: str | None = None
    prompt: Prompt | None = None
    texts: Mapping[str, str] = field(default_factory=dict)
    names: Sequence[str] = ()


def _read(value: Any, number: int) -> _Read:
    if isinstance(value, (str, Completion)):
        return _Read()
    if not isinstance(value, Mapping):
        raise ValueError(f"must be a text, a row with an answer or a Completion, got {type(value).__name__}")
    try:
        reading: Reading | None = read_row(value, number)
    except ValueError:  # an answer beside an id needs no question
        reading = None
    every = columns_of(value)
    id = id_of(every)
    if reading is None and id is None:
        raise ValueError(f"needs an `id`, or the prompt that it answers; it has {sorted(every)}")
    texts = (
        reading.texts if reading else {n: t for n, v in every.items() if (t := text_of(v, ())) is not None}
    )
    return _Read(id=id, prompt=reading.prompt if reading else None, texts=texts, names=tuple(every))


def _column(found: Sequence[_Read], given: str | None, source: Any) -> str:
    """The one column that all rows are read from; "" if rows are texts."""
    rows = [read for read in found if read.names]
    if not rows:
        return ""
    names = dict.fromkeys(name for read in rows for name in read.texts)
    if given is not None:
        if given not in names:
            raise ValueError(
                f"{name_of(source)} has no answers in a column {given!r}; it has {sorted(names)}"
            )
        return given
    by_normal = {normal(name): name for name in names}
    best = next((by_normal[name] for name in _TEXT if name in by_normal), None)
    other = [name for name in names if kind_of(name) == "answer"]
    if best is None and len(other) != 1:
        columns = sorted({name for read in rows for name in read.names})
        raise ValueError(
            f"{name_of(source)} has none of the columns of answers ({', '.join(_TEXT[:6])}, ...); it has "
            f"{columns}"
        )
    return best or other[0]


def _answer(value: Any, place: str, read: _Read, column: str) -> Answer:
    if isinstance(value, Completion):
        return Answer(text=value.text, place=place, id=value.prompt_id, finish_reason=value.finish_reason)
    if isinstance(value, str):
        return Answer(text=healed(value), place=place)
    reason = str(value.get("finish_reason") or "").lower()
    return Answer(
        text=read.texts.get(column, ""),
        place=place,
        id=read.id,
        prompt=read.prompt,
        finish_reason=_ENDS.get(reason, "unknown"),
    )


def _keyed(key: str, text: str) -> Answer:
    """An answer of a mapping, whose key is an id or the text of a prompt."""
    return Answer(text=healed(text), place=f"{key!r:.60}", id=key, prompt=_plain(key))


def _plain(text: str) -> Prompt:
    return Prompt(id="", messages=({"role": "user", "content": healed(text)},))


def _keys(prompt: Prompt) -> tuple[str, ...]:
    """By what a prompt is known again, the strictest first: all that is asked, its turns, its text."""
    turns = [(message["role"], message["content"]) for message in prompt.messages]
    return digest(prompt.question), digest(turns), prompt.text


def _check_same(answer: Answer, prompt: Prompt, asked: Mapping[str, Prompt], what: str) -> None:
    """An id that stands beside the question of another prompt is the number of another list."""
    if answer.prompt is None or not answer.prompt.id or set(_keys(answer.prompt)) & set(_keys(prompt)):
        return
    other = next((asked[key] for key in _keys(answer.prompt) if key in asked), None)
    if other is not None and other.id != prompt.id:
        raise ValueError(
            f"`{what}` {answer.place} has the id of prompt {prompt.label} and asks what {other.label} asks: "
            "the ids of the two sources are not the same ids; leave one of them out"
        )
