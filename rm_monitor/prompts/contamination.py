"""Is what the monitor asks, or what it compares with, in the training set? A pure function over rows.

Two signs, after lowering case and dropping punctuation: a whole text that is equal, and 13 words in a row
that are (arXiv 2005.14165, appendix C). A text of 8 to 12 words must be found whole; a shorter one must be
a whole field. Runs of words that several of the prompts share are boilerplate and do not count.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rm_monitor.prompts.cells import opened
from rm_monitor.prompts.training_rows import MOST_ROWS, training_rows
from rm_monitor.prompts.turns import are_turns
from rm_monitor.types import Prompt, ReferenceSet

__all__ = ["Contamination", "check", "rows_of", "texts_of"]

GRAM = 13  # words in a row
SHORTEST = 8  # words of a text that is looked for inside others
MOST_SECONDS = 10.0
_WORD = re.compile(r"\w+")
_LONGEST = 100_000  # characters of a text that are looked at
_MOST_WORDS = 500_000  # words whose numbers are kept
_NO_TEXT = (
    "attention_mask",
    "labels",
    "token_type_ids",
    "position_ids",
    "completion_mask",
    "assistant_masks",
)

Ids = Sequence[int]
Decode = Callable[[Ids], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Contamination:
    """What was found.

    Attributes:
        prompts: Prompts asked about.
        references: Reference texts asked about.
        exact: Ids of prompts of which the prompt or a reference is a whole text of the training set.
        overlapping: Ids of those that share words in a row with it, the exact ones left out.
        in_references: How many of the found ids were found by a reference, not by the prompt itself.
        rows: Training rows looked at.
        complete: Whether that was all of them.
    """

    prompts: int
    references: int
    exact: tuple[str, ...] = ()
    overlapping: tuple[str, ...] = ()
    in_references: int = 0
    rows: int = 0
    complete: bool = True

    @property
    def found(self) -> int:
        """Prompts with any sign."""
        return len(self.exact) + len(self.overlapping)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for the manifest."""
        return {**asdict(self), "exact": list(self.exact), "overlapping": list(self.overlapping)}

    def __str__(self) -> str:
        where = f"the {self.rows:,} rows of the training set" + (" looked at" if not self.complete else "")
        if not self.rows:
            return (
                "contamination was not checked: the training set has no texts that can be read without "
                "running code of its own"
            )
        if not self.found:
            return f"none of the {self.prompts} prompts and their references is in {where}"
        by = f", {self.in_references} of them by their reference alone" if self.in_references else ""
        return (
            f"CONTAMINATED: {self.found} of {self.prompts} prompts are in {where} ({len(self.exact)} word "
            f"for word, {len(self.overlapping)} by {GRAM} words in a row{by}): their answers are learned by "
            "heart, and the curve flatters. Draw others: "
            "`rm-monitor prompts SOURCE --without TRAINING_SET -o prompts.jsonl`"
        )


def check(
    prompts: Sequence[Prompt],
    references: Sequence[ReferenceSet],
    rows: Iterable[Any],
    *,
    decode: Decode | None = None,
    total: int | None = None,
    most_rows: int = MOST_ROWS,
    most_seconds: float = MOST_SECONDS,
    clock: Callable[[], float] = time.monotonic,
) -> Contamination:
    """Look for prompts and references in training rows, within a bound of rows and of time.

    Args:
        prompts: What is asked; of a conversation, its last turn.
        references: What answers are compared with.
        rows: Training rows: texts, conversations, TRL's columns, or token ids.
        decode: Token ids -> text; without it ids are not read.
        total: How many rows there are; None: unknown until the last one came.
        most_rows: Look at no more.
        most_seconds: Stop after that.
        clock: Seconds, for the bound.

    Example:
        >>> ask = Prompt(id="tide", messages=({"role": "user", "content": "What makes a tide?"},))
        >>> found = check([ask], [], [{"prompt": "what makes a TIDE", "completion": "The moon."}])
        >>> found.exact, found.overlapping, found.complete
        (('tide',), (), True)
    """
    wanted = [(i, False, _words(p.messages[-1]["content"])) for i, p in enumerate(prompts)]
    wanted += [(i, True, _words(c.text)) for r in references for i, c in enumerate(r.completions)]
    wanted = [w for w in wanted if w[2]]
    index = _Index(wanted)
    exact: dict[int, bool] = {}
    overlapping: dict[int, bool] = {}
    began, looked, ended = clock(), 0, True
    for row in rows:
        if looked >= most_rows or clock() - began > most_seconds:
            ended = False
            break
        looked += 1
        for text in texts_of(row, decode):
            words = _words(text)
            for found, hits in ((exact, index.equal(words)), (overlapping, index.inside(words))):
                for i, by_reference in hits:
                    found[i] = found.get(i, True) and by_reference
    overlapping = {i: by for i, by in overlapping.items() if i not in exact}
    return Contamination(
        prompts=len(prompts),
        references=sum(len(r.completions) for r in references),
        exact=tuple(prompts[i].id for i in sorted(exact)),
        overlapping=tuple(prompts[i].id for i in sorted(overlapping)),
        in_references=sum([*exact.values(), *overlapping.values()]),
        rows=looked,
        complete=ended and (total is None or looked >= total),
    )


def rows_of(dataset: Any, *, most_rows: int = MOST_ROWS) -> tuple[Iterator[Any], int | None]:
    """Rows of a dataset and how many it has, read without running code of the user's (`training_rows`)."""
    found = training_rows(dataset, most_rows=most_rows)
    return iter(found), found.total


def texts_of(row: Any, decode: Decode | None = None) -> Iterator[str]:
    """Every text of a row: columns of text, turns of conversations, decoded token ids.

    Example:
        >>> list(texts_of({"prompt": "Hi", "chosen": [{"role": "assistant", "content": "Yes?"}]}))
        ['Hi', 'Yes?']
    """
    if isinstance(row, str):
        yield row[:_LONGEST]
        if are_turns(turns := opened(row)):  # a conversation in a cell
            yield from texts_of(turns, decode)
    elif isinstance(row, Mapping):
        for said in ("content", "value"):  # of a turn; the parts of a text are texts
            if said in row and row.keys() & {"role", "from"}:
                yield from texts_of(row[said], decode)
                return
        for name, value in row.items():
            if decode is not None and str(name).endswith("ids") and name not in _NO_TEXT:
                ids = value.tolist() if hasattr(value, "tolist") else value
                if isinstance(ids, list) and ids and all(isinstance(i, int) for i in ids[:8]):
                    yield decode(ids)[:_LONGEST]
            elif isinstance(value, (str, list, tuple)) and name not in _NO_TEXT:
                yield from texts_of(value, decode)
    elif isinstance(row, (list, tuple)):
        for turn in row:
            if isinstance(turn, (str, Mapping)):
                yield from texts_of(turn, decode)


def _words(text: str) -> list[str]:
    return _WORD.findall(text[:_LONGEST].casefold())


class _Index:
    """Numbers of runs of words -> the prompts they belong to."""

    def __init__(self, wanted: Sequence[tuple[int, bool, list[str]]]) -> None:
        self._known: dict[str, int] = {}
        self._whole: dict[str, list[tuple[int, bool]]] = {}
        grams: dict[int, dict[int, set[tuple[int, bool]]]] = {}
        for i, by_reference, words in wanted:
            self._whole.setdefault(" ".join(words), []).append((i, by_reference))
            size = min(GRAM, len(words))
            if size >= SHORTEST:
                for number in set(self._runs(words, size).tolist()):
                    grams.setdefault(size, {}).setdefault(number, set()).add((i, by_reference))
        most = max(2, len({i for i, _, _ in wanted}) // 20)  # shared by more: boilerplate
        self._grams = {
            size: {n: owners for n, owners in of.items() if len({i for i, _ in owners}) <= most}
            for size, of in grams.items()
        }
        self._sorted = {size: np.array(sorted(of), dtype=np.uint64) for size, of in self._grams.items() if of}

    def equal(self, words: list[str]) -> Iterable[tuple[int, bool]]:
        """Whose whole text this is."""
        return self._whole.get(" ".join(words), ())

    def inside(self, words: list[str]) -> Iterator[tuple[int, bool]]:
        """Whose words in a row are in this text."""
        for size, known in self._sorted.items():
            if len(words) >= size:
                runs = self._runs(words, size)
                for number in Counter(runs[np.isin(runs, known)].tolist()):
                    yield from self._grams[size][number]

    def _runs(self, words: list[str], size: int) -> NDArray[np.uint64]:
        """A 64-bit number for each run of so many words; equal runs have equal numbers."""
        if len(self._known) > _MOST_WORDS:
            self._known.clear()
        known = self._known
        numbers = np.array(
            [known.setdefault(w, hash(w) & 0xFFFF_FFFF_FFFF_FFFF) for w in words], dtype=np.uint64
        )
        runs = np.zeros(len(words) - size + 1, dtype=np.uint64)
        for j in range(size):  # a polynomial, modulo 2**64
            runs = runs * np.uint64(0x9E3779B97F4A7C15) + numbers[j : j + runs.size]
        return runs
