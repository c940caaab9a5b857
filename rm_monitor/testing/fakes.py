"""Honest fakes: a scorer that looks texts up, a generator that says one thing, a sink that keeps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from rm_monitor.types import Completion, FloatArray, Progress, Prompt, Sampling, Scale, Update

__all__ = ["ListSink", "Says", "TableScorer"]


class TableScorer:
    """A reward model that looks the text up; a text it does not know is nan.

    Example:
        >>> scorer = TableScorer(good=2.0, bad=-1.0)
        >>> p = Prompt(id="1", messages=({"role": "user", "content": "?"},))
        >>> scorer.score([p, p], [Completion(prompt_id="1", text=t) for t in ("good", "ugly")])
        array([ 2., nan])
    """

    scale: Scale = "logit"

    def __init__(self, **rewards: float) -> None:
        self.rewards = rewards

    @property
    def fingerprint(self) -> str:
        """The whole table."""
        return f"table:{sorted(self.rewards.items())}"

    def score(self, prompts: Sequence[Prompt], completions: Sequence[Completion]) -> FloatArray:
        """Look up row by row."""
        return np.array([self.rewards.get(c.text, np.nan) for c in completions], dtype=np.float64)


class Says:
    """A generator that answers every prompt with what a function of it says, or always the same."""

    def __init__(self, text: str | Callable[[Prompt, int], str]) -> None:
        self._text = text

    def generate(
        self,
        prompts: Sequence[Prompt],
        sampling: Sampling,
        *,
        seed: int = 0,
        model: Any = None,
        tokenizer: Any = None,
        progress: Progress | None = None,
    ) -> list[Completion]:
        """Answer; no model is needed."""
        return [
            Completion(
                prompt_id=prompt.id,
                text=self._text if isinstance(self._text, str) else self._text(prompt, sample),
                sample=sample,
                finish_reason="stop",
            )
            for prompt in prompts
            for sample in range(sampling.samples_per_prompt)
        ]


class ListSink:
    """A sink that keeps what it was shown, in ``updates``."""

    def __init__(self) -> None:
        self.updates: list[Update] = []

    def show(self, update: Update) -> None:
        """Keep it."""
        self.updates.append(update)
