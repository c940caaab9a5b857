r"""DeepSeek-GRM (arXiv 2504.02495): principles, a critique, then a score of 1 to 10 for each response.

Responses stand between ``[The Begin of Response i]`` and ``[The End of Response i]``, and the scores in the
last ``\boxed{x, y}``. The instructions before them are its authors' (the appendix of the paper, the model
card on the hub); their exact text could not be read here, so they are the user's to give and are not
checked word by word.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rm_monitor.scorers.judge.published import digest_of, fill, prompts_of
from rm_monitor.scorers.judge.replies import text_of
from rm_monitor.scorers.judge.voices import Turns
from rm_monitor.scorers.options import Options
from rm_monitor.types import Prompt

__all__ = ["OPTIONS", "DeepSeekQuestion", "question"]

OPTIONS = frozenset({"judge_prompt"})
WHERE = "the prompt of the model card of BBQGOD/DeepSeek-GRM-16B as a text file"
LONGEST = 4096
_BOXED = re.compile(r"\\boxed\s*\{([^{}]*)\}")


@dataclass(frozen=True, slots=True)
class DeepSeekQuestion:
    """What DeepSeek-GRM is asked.

    Attributes:
        template: The user turn, with ``{conversation}`` and ``{responses}``.
        max_tokens: Longest reply.
    """

    template: str
    max_tokens: int = LONGEST
    markers: tuple[str, ...] = ("[The End of Response", "[The Begin of Response")

    @property
    def identity(self) -> Mapping[str, str]:
        """The text by its digest."""
        return {
            "kind": "deepseek_grm",
            "template": digest_of(self.template),
            "max_tokens": str(self.max_tokens),
        }

    def ask(self, prompt: Prompt, first: str, second: str) -> Turns:
        """One user turn that holds the conversation and both responses."""
        responses = "\n".join(
            f"[The Begin of Response {i}]\n{text}\n[The End of Response {i}]"
            for i, text in enumerate((first, second), 1)
        )
        user = fill(self.template, conversation=prompt.text, responses=responses)
        return [{"role": "user", "content": user}]

    def read(self, choice: Mapping[str, Any], *, logprobs: bool = False) -> float:
        """1 if the first response has the higher score, one half for equal scores, else 0; nan: unclear."""
        boxes = _BOXED.findall(text_of(choice) or "")
        scores = [_number(part) for part in boxes[-1].split(",")] if boxes else []
        if len(scores) != 2 or not all(1 <= score <= 10 for score in scores):
            return math.nan
        return 0.5 if scores[0] == scores[1] else float(scores[0] > scores[1])


def question(kind: str, options: Options) -> DeepSeekQuestion:
    """The user's copy of the authors' prompt."""
    (text,) = prompts_of(options.judge_prompt, ["PROMPT"], where=WHERE, places=("conversation", "responses"))
    return DeepSeekQuestion(text, max_tokens=options.max_tokens or LONGEST)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
