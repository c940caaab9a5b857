"""LMUnit (arXiv 2412.13091): does the response pass a unit test in words? Scored by digits' probabilities.

As its authors' code asks and reads it (github.com/ContextualAI/LMUnit, 056c40d): the reply is a short JSON
object, and the score is the mean of the digits 0 to 6 by their probabilities, three tokens behind
``score``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from rm_monitor.scorers.judge.replies import tokens_of
from rm_monitor.scorers.judge.voices import Turns
from rm_monitor.scorers.options import Options
from rm_monitor.types import Prompt, Scale

__all__ = ["OPTIONS", "LMUnitQuestion", "question"]

OPTIONS = frozenset({"unit_test"})
SYSTEM = "rationale=No"
UNIT_TEST = "Is the response helpful?"  # the authors' default
LONGEST = 10  # tokens of a reply, as in the authors' evaluation
_DIGITS = {str(digit): float(digit) for digit in range(7)}


@dataclass(frozen=True, slots=True)
class LMUnitQuestion:
    """What LMUnit is asked.

    Attributes:
        unit_test: One question about the response, best one that Yes answers.
        max_tokens: Longest reply.
    """

    unit_test: str = UNIT_TEST
    max_tokens: int = LONGEST
    scale: Scale = "rating"

    @property
    def identity(self) -> Mapping[str, str]:
        """The test."""
        return {"kind": "lmunit", "unit_test": self.unit_test, "max_tokens": str(self.max_tokens)}

    def ask(self, prompt: Prompt, answer: str) -> Turns:
        """Query, response and test in one user turn."""
        user = f"Query: {prompt.text}\n\nResponse: {answer}\n\nUnit Test: {self.unit_test}"
        return [{"role": "system", "content": SYSTEM}, {"role": "user", "content": user}]

    def read(self, choice: Mapping[str, Any]) -> float:
        """The mean digit; nan where no digit stands at the score's place (the authors' code says 0 there)."""
        said = tokens_of(choice)
        place = next(
            (i + 3 for i, (a, b) in enumerate(pairwise(said)) if (a.token, b.token) == ("score", '":')),
            None,
        )
        if place is None or place >= len(said) or said[place].token.strip() not in _DIGITS:
            return math.nan
        shares: dict[str, float] = {}
        for token, value in said[place].top:
            if token in _DIGITS:
                shares[token] = math.exp(value)
        total = sum(shares.values())
        return sum(_DIGITS[digit] * p for digit, p in shares.items()) / total if total > 0 else math.nan


def question(kind: str, options: Options) -> LMUnitQuestion:
    """The user's test, or the authors' default."""
    return LMUnitQuestion(options.unit_test or UNIT_TEST, max_tokens=options.max_tokens or LONGEST)
