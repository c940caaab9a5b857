"""The demo's task: counting in words, where better and worse answers are known."""

from __future__ import annotations

import random
from typing import NamedTuple

__all__ = ["WORDS", "Example", "examples", "worse"]

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
