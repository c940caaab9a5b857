"""Skywork-Critic: says at once which of two assistants is better.

Its prompt is on its model card (``README.md`` of Skywork/Skywork-Critic-Llama-3.1-8B or -70B on the hub),
whose text could not be read here: it is taken from the user's copy, and its places are checked, not its
words.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rm_monitor.scorers.judge.published import digest_of, fill, prompts_of
from rm_monitor.scorers.judge.replies import double_brackets
from rm_monitor.scorers.judge.voices import Turns
from rm_monitor.scorers.options import Options
from rm_monitor.types import Prompt

__all__ = ["OPTIONS", "SkyworkQuestion", "question"]

OPTIONS = frozenset({"judge_prompt"})
WHERE = "README.md of huggingface.co/Skywork/Skywork-Critic-Llama-3.1-8B"
LONGEST = 2048


@dataclass(frozen=True, slots=True)
class SkyworkQuestion:
    """What Skywork-Critic is asked.

    Attributes:
        template: The user turn, with ``{input}``, ``{response_a}`` and ``{response_b}``.
        max_tokens: Longest reply.
    """

    template: str
    max_tokens: int = LONGEST
    markers: tuple[str, ...] = (
        "[The End of Assistant A's Answer]",
        "[The Start of Assistant B's Answer]",
        "[The End of Assistant B's Answer]",
    )

    @property
    def identity(self) -> Mapping[str, str]:
        """The text by its digest."""
        return {
            "kind": "skywork_critic",
            "template": digest_of(self.template),
            "max_tokens": str(self.max_tokens),
        }

    def ask(self, prompt: Prompt, first: str, second: str) -> Turns:
        """One user turn."""
        user = fill(self.template, input=prompt.text, response_a=first, response_b=second)
        return [{"role": "user", "content": user}]

    def read(self, choice: Mapping[str, Any], *, logprobs: bool = False) -> float:
        """1 for ``[[A]]``, 0 for ``[[B]]``, nan for neither and for both."""
        return double_brackets(choice)


def question(kind: str, options: Options) -> SkyworkQuestion:
    """The card's prompt, from the user's copy of it.

    Raises:
        ValueError: If it is not a prompt that asks for ``[[A]]`` or ``[[B]]`` and has the three places.
    """
    (text,) = prompts_of(options.judge_prompt, ["prompt_template"], where=WHERE)
    text = re.sub(r"\{(question|instruction|prompt)\}", "{input}", text)
    missing = [place for place in ("input", "response_a", "response_b") if f"{{{place}}}" not in text]
    if missing or "[[A]]" not in text or "[[B]]" not in text:
        raise ValueError(
            "`judge_prompt` must be Skywork-Critic's: it asks for [[A]] or [[B]] and has the places {input}, "
            f"{{response_a}} and {{response_b}}; give {WHERE}"
        )
    return SkyworkQuestion(text, max_tokens=options.max_tokens or LONGEST)
