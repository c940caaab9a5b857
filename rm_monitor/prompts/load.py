"""Prompt sets from lists, datasets and files, with the column names that TRL and AlpacaEval use."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, overload

from rm_monitor.files.digest import digest
from rm_monitor.types import Message, Prompt

__all__ = ["PromptSet", "fingerprint_of", "load_prompts", "read_rows"]

_PROMPT = ("prompt", "instruction", "question", "messages", "conversation")
_IDS = ("id", "prompt_id", "uid")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PromptSet(Sequence[Prompt]):
    """Fixed prompts, in order.

    Attributes:
        prompts: The prompts.
        columns: Every column of texts that could be a reference: name -> one text (or None) a prompt.
        source: Where they came from, for people.
    """

    prompts: tuple[Prompt, ...]
    columns: Mapping[str, tuple[str | None, ...]] = field(default_factory=dict)
    source: str = ""

    @property
    def fingerprint(self) -> str:
        """16 hex digits of all that is asked: ids, turns, tools, documents, template arguments."""
        return fingerprint_of([[p.id, p.question] for p in self.prompts])

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
    raw: bool = False,
    limit: int | None = None,
) -> PromptSet:
    """Load prompts, and the texts beside them that may serve as references.

    Known columns: ``prompt`` (text or messages) with ``completion``, ``chosen``, ``rejected`` (TRL),
    ``messages``, AlpacaEval's
    ``instruction`` with ``output``, and ``references`` (a mapping of names to texts). Without a prompt
    column, a pair of
    conversations ``chosen``/``rejected`` gives its common turns.

    Args:
        source: Path of a JSONL, JSON, CSV or Parquet file; a list of texts, message lists, rows or
            `Prompt`; or anything
            that iterates over rows, such as a ``datasets.Dataset``.
        prompt_column: Name of the prompt column, if it is none of the known ones.
        id_column: Name of the id column; None: ``id``, ``prompt_id``, ``uid``, else a hash of the content.
        tags_column: Column of a tag or a list of tags.
        raw: Texts are continued as they stand, without a chat template.
        limit: Take the first so many rows.

    Raises:
        ValueError: If there are no prompts, an id comes twice, a prompt is empty or ends with the
            assistant, or a column is missing.

    Example:
        >>> rows = [{"prompt": "Hi", "chosen": "Hello!"}, {"prompt": "Bye", "chosen": "Goodbye!"}]
        >>> prompts = load_prompts(rows)
        >>> len(prompts), prompts[0].text, prompts.columns["chosen"]
        (2, 'Hi', ('Hello!', 'Goodbye!'))
    """
    rows = list(read_rows(source))[:limit]
    if not rows:
        raise ValueError(f"`prompts` holds no prompts: {_name(source)}")
    prompts = tuple(_prompt(row, i, prompt_column, id_column, tags_column, raw) for i, row in enumerate(rows))
    twice = [id for id, count in Counter(p.id for p in prompts).items() if count > 1]
    if twice:
        raise ValueError(
            f"`prompts` must have different ids; {len(twice)} come more than once: {twice[:5]}. "
            "Give an `id` column, or drop the repeated prompts"
        )
    return PromptSet(prompts=prompts, columns=_columns(rows), source=_name(source))


def read_rows(source: Any) -> Iterator[Any]:
    """The rows of a file or an iterable, whatever they are.

    Raises:
        ValueError: If the file does not exist or has an unknown ending.
        TypeError: If the source cannot be iterated over.
    """
    if isinstance(source, (str, Path)):
        yield from _read_file(Path(source))
    elif isinstance(source, Iterable) and not isinstance(source, Mapping):
        yield from source
    else:
        raise TypeError(
            f"`prompts` must be a path, a list or a dataset of rows, got {type(source).__name__}; "
            "of a dict of splits, pass one"
        )


def fingerprint_of(value: Any) -> str:
    """16 hex digits of a value's JSON; lone surrogates are safe."""
    return digest(value)


def _read_file(path: Path) -> Iterator[Any]:
    if not path.is_file():
        raise ValueError(f"no such file: {path}")
    ending = path.suffix.lower()
    if ending == ".parquet":
        yield from _read_parquet(path)
    elif ending == ".csv":
        with path.open(newline="", encoding="utf-8") as file:
            yield from csv.DictReader(file)
    elif ending == ".json":
        rows = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(rows, list):
            raise ValueError(f"{path} must hold a list of rows, got {type(rows).__name__}")
        yield from rows
    elif ending in (".jsonl", ".ndjson"):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if line.strip():
                try:
                    yield json.loads(line)
                except json.JSONDecodeError as problem:
                    raise ValueError(f"{path} line {number} is not JSON: {problem}") from problem
    else:
        raise ValueError(f"{path} must end in .jsonl, .json, .csv or .parquet, got {ending!r}")


def _read_parquet(path: Path) -> Iterator[Any]:
    try:
        import pyarrow.parquet as parquet  # noqa: PLC0415  an optional reader
    except ImportError as missing:
        raise ImportError(f"reading {path} needs pyarrow: pip install pyarrow") from missing
    yield from parquet.read_table(path).to_pylist()


def _prompt(
    row: Any, number: int, prompt_column: str | None, id_column: str | None, tags_column: str, raw: bool
) -> Prompt:
    if isinstance(row, Prompt):
        return row
    if not isinstance(row, Mapping):
        row = {"prompt": row}
    messages, is_text = _messages(_asked(row, number, prompt_column), number)
    names = (id_column,) if id_column else _IDS
    id = next((str(row[name]) for name in names if row.get(name) not in (None, "")), None)
    if id is None and id_column:
        raise ValueError(f"prompt {number} has no `{id_column}`; its columns are {sorted(row)}")
    tags = row.get(tags_column) or ()
    prompt = Prompt(
        id=id or "",
        messages=messages,
        raw=raw and is_text,
        tags=(tags,) if isinstance(tags, str) else tuple(str(t) for t in tags),
        cluster=str(row.get("cluster") or ""),
        row=number + 1,
    )
    return prompt if id else replace(prompt, id=fingerprint_of(prompt.question))


def _asked(row: Mapping[str, Any], number: int, prompt_column: str | None) -> Any:
    """What a row asks."""
    if prompt_column is not None:
        if prompt_column not in row:
            raise ValueError(
                f"prompt {number} has no column {prompt_column!r}; its columns are {sorted(row)}"
            )
        return row[prompt_column]
    for name in _PROMPT:
        if row.get(name) is not None:
            return row[name]
    chosen, rejected = row.get("chosen"), row.get("rejected")
    if isinstance(chosen, Sequence) and isinstance(rejected, Sequence) and not isinstance(chosen, str):
        common = [a for a, b in zip(chosen, rejected, strict=False) if a == b]
        return common if common else chosen[:-1]
    raise ValueError(
        f"prompt {number} has none of the columns {_PROMPT}: pass `prompt_column`; it has {sorted(row)}"
    )


def _messages(asked: Any, number: int) -> tuple[tuple[Message, ...], bool]:
    """The turns, and whether they came as plain text."""
    if isinstance(asked, str):
        if not asked.strip():
            raise ValueError(f"prompt {number} is empty")
        return (Message(role="user", content=asked),), True
    if not isinstance(asked, Sequence) or not asked:
        raise ValueError(f"prompt {number} must be text or a list of messages, got {type(asked).__name__}")
    turns = []
    for turn in asked:
        if not isinstance(turn, Mapping) or not isinstance(turn.get("content"), str) or not turn.get("role"):
            raise ValueError(
                f"prompt {number}: a message has a `role` and a text `content`, got {turn!r:.200}"
            )
        turns.append(Message(role=str(turn["role"]), content=turn["content"]))
    if turns[-1]["role"] == "assistant":
        raise ValueError(
            f"prompt {number} leaves nothing to answer: its last message must not come from the assistant. "
            "Drop the last turn, or name another `prompt_column`"
        )
    return tuple(turns), False


def _columns(rows: Sequence[Any]) -> dict[str, tuple[str | None, ...]]:
    """Texts beside the prompts; the text of a conversation column is its last assistant turn."""
    names: dict[str, None] = {}
    for row in rows:
        if isinstance(row, Mapping):
            names |= dict.fromkeys(name for name in row if name != "references")
            nested = row.get("references")
            if isinstance(nested, Mapping):
                names |= dict.fromkeys(nested)
    found = {name: tuple(_text(row, name) for row in rows) for name in names}
    return {name: texts for name, texts in found.items() if any(t is not None for t in texts)}


def _text(row: Any, name: str) -> str | None:
    if not isinstance(row, Mapping):
        return None
    value = row.get(name)
    if value is None and isinstance(row.get("references"), Mapping):
        value = row["references"].get(name)
    if isinstance(value, str):
        return value
    if isinstance(value, Sequence) and value and isinstance(value[-1], Mapping):
        content = value[-1].get("content")
        return content if value[-1].get("role") == "assistant" and isinstance(content, str) else None
    return None


def _name(source: Any) -> str:
    return str(source) if isinstance(source, (str, Path)) else type(source).__name__
