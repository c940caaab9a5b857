"""The demo's task: counting in words, where better and worse answers are known."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import NamedTuple

__all__ = ["WORDS", "Example", "examples", "fewer_slips", "worse"]

_ONES = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
_TEENS = [
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
]
WORDS = ["zero", *_ONES, *_TEENS]
WORDS += [word for ten in ("twenty", "thirty", "forty") for word in (ten, *(f"{ten}-{one}" for one in _ONES))]
LONGEST = 10


class Example(NamedTuple):
    """A prompt, its right answer, and a fixed reference that is right half of the time."""

    prompt: str
    answer: str
    reference: str


def examples(seed: int) -> list[Example]:
    """Every count up of two to ten words, in random order."""
    rng = random.Random(seed)
    found = []
    for start in range(len(WORDS)):
        for end in range(start + 1, min(start + LONGEST, len(WORDS))):
            answer = WORDS[start : end + 1]
            reference = answer if rng.random() < 0.5 else worse(answer, rng, slips=1)
            prompt = f"count from {WORDS[start]} to {WORDS[end]}"
            found.append(Example(prompt, " ".join(answer), " ".join(reference)))
    rng.shuffle(found)
    return found


def fewer_slips(prompts: Sequence[str], completions: Sequence[str]) -> list[float]:
    """A judge that knows the right answer: minus the words to change, add or leave out to get there.

    Args:
        prompts: As `examples` asks them, ``count from one to five``; to others nothing is right.
        completions: What was answered.

    Example:
        >>> fewer_slips(["count from one to three"] * 3, ["one two three", "one two two", ""])
        [0.0, -1.0, -3.0]
    """
    return [float(-_distance(_right(p), c.split())) for p, c in zip(prompts, completions, strict=True)]


def _right(prompt: str) -> list[str]:
    ends = [WORDS.index(word) for word in prompt.split() if word in WORDS]
    return WORDS[ends[0] : ends[-1] + 1] if ends else []


def _distance(a: Sequence[str], b: Sequence[str]) -> int:
    """Of Levenshtein, in words."""
    row = list(range(len(b) + 1))
    for i, word in enumerate(a, 1):
        before, row[0] = row[0], i
        for j, other in enumerate(b, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (word != other))
    return row[-1]


def worse(answer: list[str], rng: random.Random, *, slips: int) -> list[str]:
    """The answer with some slips: a word replaced, left out, said twice, or said in place of another."""
    words = list(answer)
    for _ in range(slips):
        i = rng.randrange(len(words))
        kind = rng.randrange(3)
        if kind == 0:
            words[i] = rng.choice([w for w in WORDS if w != words[i]])
        elif kind == 1 and len(words) > 1:
            del words[i]
        else:
            words.insert(i, words[i])
    return words
