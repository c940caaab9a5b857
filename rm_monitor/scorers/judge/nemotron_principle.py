"""Qwen3-Nemotron-32B-GenRM-Principle (RLBFF, arXiv 2509.21319): reasons, then Yes or No to a principle.

As its card does it: the conversation, the answer as the assistant's turn, a turn of the role ``principle``;
the reward is ``log p(Yes) - log p(No)`` at its last word, each at least 50 below the likeliest.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rm_monitor.scorers.judge.replies import tokens_of
from rm_monitor.scorers.judge.voices import Turns
from rm_monitor.scorers.options import Options
from rm_monitor.types import Prompt, Scale

__all__ = ["OPTIONS", "PrincipleQuestion", "question"]

OPTIONS = frozenset({"principle"})
LONGEST = 16_000  # tokens of a reply, as on the card
_LEAST = -50.0  # as on the card: what is not among the likeliest is so much less likely


@dataclass(frozen=True, slots=True)
class PrincipleQuestion:
    """What the principle judge is asked.

    Attributes:
        principle: What an answer is to satisfy.
        max_tokens: Longest reply.
    """

    principle: str
    max_tokens: int = LONGEST
    scale: Scale = "logit"

    @property
    def identity(self) -> Mapping[str, str]:
        """The principle; the text is its template's."""
        return {
            "kind": "nemotron_genrm_principle",
            "principle": self.principle,
            "max_tokens": str(self.max_tokens),
        }

    def ask(self, prompt: Prompt, answer: str) -> Turns:
        """The conversation, the answer, and the principle by its role."""
        return [
            *(dict(m) for m in prompt.messages),
            {"role": "assistant", "content": answer},
            {"role": "principle", "content": self.principle},
        ]

    def read(self, choice: Mapping[str, Any]) -> float:
        """The log-odds at the last token that is a word; nan if that word is neither Yes nor No."""
        if choice.get("finish_reason") == "length":
            return math.nan
        said = [one for one in tokens_of(choice) if one.token.strip()]
        if not said or said[-1].token.strip() not in ("Yes", "No"):
            return math.nan
        yes, no = (_relative(said[-1].top, word) for word in ("Yes", "No"))
        return yes - no


def question(kind: str, options: Options) -> PrincipleQuestion:
    """The question about the user's principle.

    Raises:
        ValueError: If there is none.
    """
    if not (options.principle or "").strip():
        raise ValueError(
            "`principle` is what an answer is to satisfy, and this judge needs it: pass "
            "principle='correctness', or one of your own in a few words"
        )
    assert options.principle is not None
    return PrincipleQuestion(options.principle.strip(), max_tokens=options.max_tokens or LONGEST)


def _relative(top: Sequence[tuple[str, float]], word: str) -> float:
    """Log-probability of a word with a blank before it, else without, relative to the likeliest."""
    largest = max(p for _, p in top)
    for spelling in (f" {word}", word):
        found = [p for token, p in top if token == spelling]
        if found:
            return max(max(found) - largest, _LEAST)
    return _LEAST
