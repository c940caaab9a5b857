"""Prompts to watch a run with: all kinds in their shares, nothing twice, nothing that training sees."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from rm_monitor import files
from rm_monitor.files.digest import digest
from rm_monitor.files.strict_json import dumps
from rm_monitor.prompts import contamination
from rm_monitor.prompts.load import PromptSet, collected
from rm_monitor.prompts.near import NearIndex
from rm_monitor.prompts.reading import Columns, Reading, read_row
from rm_monitor.prompts.rows import name_of, read_rows
from rm_monitor.prompts.within import words
from rm_monitor.types import Prompt

__all__ = ["Sample", "sample_prompts", "write_prompts"]

MOST_ROWS = 200_000  # of a source; the sample is drawn from so many, spread by the same hash
BINS = 4  # of length


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Prompts that were drawn, and what became of the rest.

    Attributes:
        prompts: The sample, in the order of the source, references included.
        rows: Rows that the source has, as far as it was read.
        refused: Rows that cannot be asked.
        why: The first reason.
        repeated: Rows that ask what an earlier row asks.
        near: Prompts passed over because one that asks nearly the same was drawn.
        trained: Prompts passed over because training sees them.
    """

    prompts: PromptSet
    rows: int
    refused: int = 0
    why: str = ""
    repeated: int = 0
    near: int = 0
    trained: int = 0

    def __str__(self) -> str:
        tags = Counter(tag for prompt in self.prompts for tag in prompt.tags)
        lengths = (
            np.percentile([len(prompt.text) for prompt in self.prompts], [0, 50, 100]).astype(int).tolist()
        )
        passed = {
            "asked before": self.repeated,
            "nearly the same": self.near,
            "in the training set": self.trained,
        }
        lines = [
            f"{len(self.prompts)} prompts of the {self.rows:,} rows of {self.prompts.source}, of "
            f"{lengths[0]} to "
            f"{lengths[2]:,} characters, half of them over {lengths[1]:,}"
        ]
        if tags:
            lines.append("tags: " + ", ".join(f"{tag} {n}" for tag, n in tags.most_common()))
        if any(passed.values()):
            lines.append("passed over: " + ", ".join(f"{n} {why}" for why, n in passed.items() if n))
        if self.refused:
            lines.append(f"left out: {self.refused} rows that cannot be asked, the first: {self.why}")
        return "\n".join([*lines, *self.prompts.notes])


def sample_prompts(
    source: Any,
    n: int = 256,
    *,
    without: Any = None,
    seed: int = 0,
    prompt_column: str | None = None,
    id_column: str | None = None,
    tags_column: str = "tags",
    ignore_columns: Sequence[str] = (),
) -> Sample:
    """Draw prompts to watch a run with from any source that `load_prompts` reads.

    The draw keeps the shares of tags and of quarters of length. It depends on ``seed`` and on what the rows
    ask,
    not on their order.

    Args:
        source: As for `load_prompts`.
        n: How many; fewer come if there are not so many different ones.
        without: The training set: a source, or a list of paths of several; what is found in it, word for
        word or by
            13 words in a row, is not drawn.
        seed: Of the draw.
        prompt_column: As for `load_prompts`, as the next three.
        id_column: As above.
        tags_column: As above.
        ignore_columns: As above.

    Raises:
        ValueError: If ``n`` is not above 0, no row can be asked (the first one's reason), or all are trained
        on.

    Example:
        >>> rows = [{"prompt": f"What is {x}?", "answer": x} for x in ("a tide", "a soap", "a tide")]
        >>> sample = sample_prompts(rows, 2, without=["What is a soap?"])
        >>> [p.text for p in sample.prompts], sample.prompts.columns["answer"], sample.trained
        (['What is a tide?'], ('a tide',), 1)
    """
    if n < 1:
        raise ValueError(f"`n` is how many prompts are drawn and must be above 0, got {n}")
    columns = Columns(prompt=prompt_column, id=id_column, tags=tags_column, ignore=tuple(ignore_columns))
    pool, rows, refused, why = _pool(source, columns, seed)
    if not pool:
        raise ValueError(why or f"{name_of(source)} holds no rows")
    different = _different(pool)
    order = _order(different, n, seed)
    drawn, near, trained = _draw(order, n, without)
    if not drawn:
        raise ValueError(
            f"all {trained} prompts of {name_of(source)} are in the training set: draw from another source"
        )
    found = collected(sorted(drawn, key=lambda r: r.prompt.row), source=name_of(source))
    kept = {name for reading in drawn for name in reading.answers}
    return Sample(
        prompts=replace(found, columns={name: texts for name, texts in found.columns.items() if name in
        kept}),
        rows=rows, refused=refused, why=why, repeated=len(pool) - len(different), near=near, trained=trained,
    )  # fmt: skip


def write_prompts(path: str | Path, prompts: PromptSet) -> None:
    """Write prompts, and their references, as JSON lines that `load_prompts` reads back as they are."""
    lines = []
    for i, prompt in enumerate(prompts):
        asked = prompt.question
        kwargs = asked.pop("template_kwargs", None)
        row: dict[str, Any] = {"id": prompt.id, "prompt": asked.pop("messages"), **asked}
        if prompt.raw:
            row["prompt"] = row.pop("rendered", prompt.text)
        row |= {"parts": dict(prompt.parts)} if prompt.parts else {}
        if kwargs:
            row["chat_template_kwargs"] = kwargs
        row |= {"tags": list(prompt.tags)} if prompt.tags else {}
        row |= {"cluster": prompt.cluster} if prompt.cluster else {}
        references = {name: texts[i] for name, texts in prompts.columns.items() if texts[i] is not None}
        lines.append(dumps(row | ({"references": references} if references else {})))
    files.replace(Path(path), "".join(f"{line}\n" for line in lines))


def _pool(source: Any, columns: Columns, seed: int) -> tuple[list[Reading], int, int, str]:
    """Rows that can be asked; of more than `MOST_ROWS` those whose hashes are smallest."""
    pool: list[Reading] = []
    rows, refused, why = 0, 0, ""
    for rows, row in enumerate(read_rows(source), 1):
        try:
            pool.append(read_row(row.value, rows, columns))
        except (ValueError, TypeError) as problem:
            refused, why = refused + 1, why or f"{row.place} {problem}"
        if len(pool) >= 2 * MOST_ROWS:
            pool = sorted(pool, key=lambda r: _place(r.prompt, seed))[:MOST_ROWS]
    return sorted(pool, key=lambda r: _place(r.prompt, seed))[:MOST_ROWS], rows, refused, why


def _different(pool: Sequence[Reading]) -> list[Reading]:
    """One of all that ask the same but for punctuation; if ids still come twice, all are named anew."""
    first: dict[str, Reading] = {}
    for reading in pool:
        first.setdefault(
            digest({**reading.prompt.question, "messages": words(_said(reading.prompt))}), reading
        )
    found = list(first.values())
    if len({reading.prompt.id for reading in found}) == len(found):
        return found
    return [replace(r, prompt=replace(r.prompt, id=digest(r.prompt.question)), has_id=False) for r in found]


def _order(pool: Sequence[Reading], n: int, seed: int) -> list[Reading]:
    """All of them, so that the first ``n`` hold tags and quarters of length in their shares."""
    edges = np.quantile([len(r.prompt.text) for r in pool], np.arange(1, BINS) / BINS)
    strata: dict[tuple[Any, ...], list[Reading]] = {}
    for reading in sorted(pool, key=lambda r: _place(r.prompt, seed)):
        at = int(np.searchsorted(edges, len(reading.prompt.text)))
        strata.setdefault((reading.prompt.tags, at), []).append(reading)
    # Systematic: the k-th of a stratum of m stands at (k + u) / m, so that any beginning is in shares.
    placed = []
    for key, members in strata.items():
        u = int(digest([seed, list(key[0]), key[1]]), 16) / 16**16
        placed += [((k + u) / len(members), i, r) for i, (k, r) in enumerate(enumerate(members))]
    return [reading for _, _, reading in sorted(placed, key=lambda x: (x[0], _place(x[2].prompt, seed)))]


def _draw(order: Sequence[Reading], n: int, without: Any) -> tuple[list[Reading], int, int]:
    """The first ``n`` that training does not see and that are not nearly the same."""
    drawn: list[Reading] = []
    index, near, trained, rest = NearIndex(), 0, 0, iter(order)
    while len(drawn) < n and (batch := list(islice(rest, 2 * (n - len(drawn)) + 64))):
        seen = _seen([reading.prompt for reading in batch], without)
        for reading in batch:
            if len(drawn) == n:
                break
            text = _said(reading.prompt)
            if reading.prompt.id in seen:
                trained += 1
            elif index.find(text):
                near += 1
            else:
                index.add(text, reading.prompt.id)
                drawn.append(reading)
    return drawn, near, trained


def _seen(prompts: Sequence[Prompt], without: Any) -> set[str]:
    """Ids of those that the training set holds, word for word, by 13 words in a row or nearly."""
    if without is None:
        return set()
    index, near = NearIndex(), set[str]()
    for prompt in prompts:
        index.add(_said(prompt), prompt.id)

    def rows() -> Iterator[Any]:
        for row in _training_rows(without):
            for text in contamination.texts_of(row):
                near.update(index.find(text))
            yield row

    found = contamination.check(prompts, [], rows(), most_rows=2**62, most_seconds=float("inf"))
    return {*found.exact, *found.overlapping, *near}


def _training_rows(without: Any) -> Iterable[Any]:
    paths = isinstance(without, (list, tuple)) and all(isinstance(x, Path) or _is_path(x) for x in without)
    sources: Iterator[Any] = iter(without if paths else [without])
    return (row.value for source in sources for row in read_rows(source))


def _is_path(value: Any) -> bool:
    return isinstance(value, str) and len(value) < 4096 and "\n" not in value and Path(value).exists()


def _said(prompt: Prompt) -> str:
    """What is asked, without the system text that a whole set may share."""
    return "\n".join(m["content"] for m in prompt.messages if m["role"] != "system") or prompt.text


def _place(prompt: Prompt, seed: int) -> bytes:
    text = f"{seed}:{digest(prompt.question)}"
    return hashlib.sha256(text.encode()).digest()
