r"""Llama-3.3-Nemotron-Super-49B-GenRM: reasons, scores both responses, and ranks them from 1 to 6.

Its prompt is its tokenizer's chat template, which knows the roles ``response_1`` and ``response_2``; so it
is asked as published wherever its own template renders. The ranking is the last ``\boxed{}`` between ``[The
Begin of Ranking Score]`` and ``[The End of Ranking Score]``: 1 to 3 for the first response, 4 to 6 for the
second.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rm_monitor.scorers.judge.replies import text_of
from rm_monitor.scorers.judge.voices import Turns
from rm_monitor.scorers.options import Options
from rm_monitor.types import Prompt

__all__ = ["OPTIONS", "GenRMQuestion", "question"]

OPTIONS: frozenset[str] = frozenset()
LONGEST = 16_384
_RANKING = re.compile(r"\[The Begin of Ranking Score\](.*?)\[The End of Ranking Score\]", re.DOTALL)
_BOXED = re.compile(r"\\boxed\s*\{\s*([\d.]+)\s*\}")


@dataclass(frozen=True, slots=True)
class GenRMQuestion:
    """What Nemotron's GenRM is asked: the conversation, and one turn a response.

    Attributes:
        max_tokens: Longest reply.
    """

    max_tokens: int = LONGEST
    markers: tuple[str, ...] = ("[The End of Response", "[The Begin of Response")

    @property
    def identity(self) -> Mapping[str, str]:
        """The text is its template's."""
        return {"kind": "nemotron_genrm", "max_tokens": str(self.max_tokens)}

    def ask(self, prompt: Prompt, first: str, second: str) -> Turns:
        """The prompt's own turns, then the two responses by their roles."""
        responses = {"response_1": first, "response_2": second}
        return [
            *(dict(m) for m in prompt.messages),
            *({"role": role, "content": text} for role, text in responses.items()),
        ]

    def read(self, choice: Mapping[str, Any], *, logprobs: bool = False) -> float:
        """1 for a ranking below 3.5, 0 above, nan without one of 1 to 6."""
        sections = _RANKING.findall(text_of(choice) or "")
        boxes = _BOXED.findall(sections[-1]) if sections else []
        if not boxes or boxes[-1].count(".") > 1:
            return math.nan
        rank = float(boxes[-1])
        return math.nan if not 1 <= rank <= 6 else 0.5 if rank == 3.5 else float(rank < 3.5)


def question(kind: str, options: Options) -> GenRMQuestion:
    """The question has no settings."""
    return GenRMQuestion(max_tokens=options.max_tokens or LONGEST)
