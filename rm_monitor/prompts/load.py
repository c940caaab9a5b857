"""Prompt sets from lists, data frames and files, in the layouts of `rm_monitor.prompts.layouts`."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, overload

from rm_monitor.files.digest import digest
from rm_monitor.prompts.names import normal
from rm_monitor.prompts.reading import Columns, Reading, read_row
from rm_monitor.prompts.rows import name_of, read_rows
from rm_monitor.types import Prompt

__all__ = ["PromptSet", "collected", "load_prompts", "readings"]

log = logging.getLogger("rm_monitor")

MOST_PROMPTS = 1_000_000  # more are not held in memory, and no run can answer them


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PromptSet(Sequence[Prompt]):
    """Fixed prompts, in order.

    Attributes:
        prompts: The prompts.
        columns: Every column of texts that could be a reference: name -> one text (or None) a prompt.
        source: Where they came from, for people.
        notes: What a reader should know of how they were read, a sentence each.
    """

    prompts: tuple[Prompt, ...]
    columns: Mapping[str, tuple[str | None, ...]] = field(default_factory=dict)
    source: str = ""
    notes: tuple[str, ...] = ()

    @property
    def fingerprint(self) -> str:
        """16 hex digits of all that is asked: ids, turns and their parts, tools, documents, arguments."""
        return digest([[p.id, p.question, *([dict(p.parts)] if p.parts else [])] for p in self.prompts])

    def only(self, prompts: Sequence[Prompt]) -> PromptSet:
        """The same set with these of its prompts, columns included."""
        place = {prompt.id: i for i, prompt in enumerate(self.prompts)}
        rows = [place[prompt.id] for prompt in prompts]
        columns = {name: tuple(texts[i] for i in rows) for name, texts in self.columns.items()}
        return replace(self, prompts=tuple(prompts), columns=columns)

    def __len__(self) -> int:
        return len(self.prompts)

    @overload
    def __getitem__(self, index: int) -> Prompt: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Prompt]: ...
    def __getitem__(self, index: int | slice) -> Prompt | Sequence[Prompt]:
        return self.prompts[index]


def load_prompts(
    source: Any,
    *,
    prompt_column: str | None = None,
    id_column: str | None = None,
    tags_column: str = "tags",
    ignore_columns: Sequence[str] = (),
    raw: bool = False,
    limit: int | None = None,
) -> PromptSet:
    """Load prompts, and the texts beside them that may serve as references.

    A row is read by its layout (docs/inputs.md lists them): TRL's, messages, ShareGPT, Alpaca, Dolly,
    OpenOrca,
    HH transcripts, UltraFeedback, verl, logs of lm-eval and Inspect and others. Columns that belong to the
    question go with it (``system``, ``tools``, ``documents``, ``chat_template_kwargs``, Alpaca's ``input``),
    or
    the row is refused. A text that a chat template has written out already is continued as it stands.

    Args:
        source: Path of a file (JSON, JSON lines, CSV, TSV, Parquet, Arrow), of a folder of shards or a
            pattern; a ``datasets.Dataset``; a frame of pandas, polars or pyarrow; a list of texts, of
            conversations, of rows or of `Prompt`.
        prompt_column: The column that is asked, if it is none of the known ones.
        id_column: Name of the id column; None: ``id``, ``prompt_id``, ``uid``, ``question_id``, ``uuid``,
            else a hash of what is asked.
        tags_column: Column of a tag or a list of tags.
        ignore_columns: Columns that may be left out of what is asked; ``"turns[1:]"``: all of a list but
            the first.
        raw: Texts are continued as they stand, without a chat template.
        limit: Take the first so many rows.

    Raises:
        ValueError: If there are no prompts, an id comes twice, a prompt is empty or ends with the
            assistant, a column is missing, or one that belongs to the question would be lost: with the
            file and line, or the row.
        TypeError: If the source is not one of rows.

    Example:
        >>> rows = [{"prompt": "Hi", "chosen": "Hello!"}, {"prompt": "Bye", "chosen": "Goodbye!"}]
        >>> prompts = load_prompts(rows)
        >>> len(prompts), prompts[0].text, prompts.columns["chosen"]
        (2, 'Hi', ('Hello!', 'Goodbye!'))
    """
    if isinstance(source, PromptSet):
        return source
    columns = Columns(
        prompt=prompt_column, id=id_column, tags=tags_column, raw=raw,
        ignore=(ignore_columns,) if isinstance(ignore_columns, str) else tuple(ignore_columns),
    )  # fmt: skip
    found = list(islice(readings(source, columns), MOST_PROMPTS + 1 if limit is None else limit))
    if not found:
        raise ValueError(f"`prompts` holds no prompts: {name_of(source)}")
    if limit is None and len(found) > MOST_PROMPTS:
        raise ValueError(
            f"`prompts` holds more than {MOST_PROMPTS:,} rows: pass `limit`, or draw a sample "
            "(`rm-monitor prompts SOURCE --n 256 -o prompts.jsonl`)"
        )
    _check_ignored(columns, found)
    prompts = collected(found, source=name_of(source))
    for note in prompts.notes:  # a run shows them in its opening lines
        log.info("rm_monitor: %s", note)
    return prompts


def readings(source: Any, columns: Columns | None = None) -> Iterator[Reading]:
    """Rows as they are read, one at a time; an error begins with the place of its row."""
    for number, row in enumerate(read_rows(source), 1):
        try:
            yield read_row(row.value, number, columns)
        except (ValueError, TypeError) as problem:  # of TypeError: a value that has no place in a question
            raise ValueError(f"{row.place} {problem}") from problem


def collected(found: Sequence[Reading], *, source: str) -> PromptSet:
    """Rows as a set.

    Raises:
        ValueError: If an id comes twice.
    """
    prompts = tuple(reading.prompt for reading in found)
    names = dict.fromkeys(name for reading in found for name in reading.texts)
    return PromptSet(
        prompts=_distinct(prompts, found),
        columns={name: tuple(reading.texts.get(name) for reading in found) for name in names},
        source=source,
        notes=tuple(_notes(found)),
    )


def _distinct(prompts: tuple[Prompt, ...], found: Sequence[Reading]) -> tuple[Prompt, ...]:
    first: dict[str, Prompt] = {}
    twice = [(first[p.id], p) for p in prompts if first.setdefault(p.id, p) is not p]
    if twice:
        has_id = {reading.prompt.id for reading in found if reading.has_id}
        told = [
            f"{a.label} and {b.label}" + (f" have the id {a.id!r}" if a.id in has_id else " ask the same")
            for a, b in twice[:5]
        ]
        raise ValueError(
            f"`prompts` must have different ids; {len(twice)} come more than once: {'; '.join(told)}. "
            "Give an `id` column, or drop the repeated prompts (`rm-monitor prompts` does)"
        )
    return prompts


def _notes(found: Sequence[Reading]) -> Iterator[str]:
    """What is to be known of how rows are read, what may change what the curve means first."""
    n = len(found)
    rendered = [reading.prompt for reading in found if reading.form == "rendered"]
    if rendered:
        yield (
            f"{len(rendered)} of {n} prompts, such as {rendered[0].label}, are written out by a chat "
            "template already: they are continued as they stand, with no template around them; judges are "
            "given the turns that were read back from them"
        )
        unread = [prompt for prompt in rendered if not prompt.rendered]
        if unread:
            yield (
                f"of {len(unread)} of these, such as {unread[0].label}, the turns could not be read back: "
                "judges read the text as it stands, control tokens included. Give them as messages"
            )
    if transcripts := sum(reading.form == "transcript" for reading in found):
        yield f"{transcripts} of {n} prompts are transcripts (Human: ... Assistant: ...), asked as turns"
    if unasked := dict.fromkeys(name for reading in found for name in reading.unasked):
        names = ", ".join(unasked)
        yield f"columns that are no part of what is asked: {names}. If one is, join it with the prompt"


def _check_ignored(columns: Columns, found: Sequence[Reading]) -> None:
    """A name that no row has is a slip of the pen."""
    known = {name: own for reading in found for name, own in reading.names.items()}
    for name in columns.ignore:
        if known and normal(name.removesuffix("[1:]")) not in known:
            near = difflib.get_close_matches(name, known.values(), 1)
            raise ValueError(
                f"`ignore_columns` names {name!r}, which no row has"
                + (f": did you mean {near[0]!r}?" if near else f"; the columns are {sorted(known.values())}")
            )
