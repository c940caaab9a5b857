"""A language model that rates one answer at a time."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from rm_monitor.scorers.judge.asking import AskedJudge, Asking
from rm_monitor.scorers.judge.pairs import SCHEMA
from rm_monitor.scorers.judge.voices import Turns, Voice, screened
from rm_monitor.scorers.run.keys import check_rows
from rm_monitor.scorers.text.encodings import healed_prompt
from rm_monitor.types import Completion, Prompt, Scale, Scores, Screened

__all__ = ["RatingJudge", "RatingQuestion"]

log = logging.getLogger("rm_monitor")


class RatingQuestion(Protocol):
    """What a judge is asked about one answer, and how its reply is read."""

    @property
    def identity(self) -> Mapping[str, str]:
        """All of it, for the fingerprint."""

    @property
    def max_tokens(self) -> int:
        """Longest reply."""

    @property
    def scale(self) -> Scale:
        """What a difference of two of its numbers means."""

    def ask(self, prompt: Prompt, answer: str) -> Turns:
        """The turns that ask for a rating."""

    def read(self, choice: Mapping[str, Any]) -> float:
        """The rating, from the alternatives of its tokens; nan if the reply has none."""


class RatingJudge(AskedJudge):
    """A pointwise scorer that asks a language model, and reads the alternatives of its tokens.

    A reply without a rating is nan, flagged ``unparsed``; it is never a default.

    Args:
        voice: Who answers.
        question: What is asked.
        name: For people.
        temperature: Divides differences of ratings.
        strip_think: Leave reasoning blocks out of the answer that is rated.
        kind: Of the judge.
    """

    def __init__(
        self,
        voice: Voice,
        question: RatingQuestion,
        *,
        name: str,
        temperature: float | None = None,
        strip_think: bool = True,
        kind: str = "",
    ) -> None:
        super().__init__(voice, question, name=name, kind=kind)
        self.question = question
        self.temperature = temperature
        self._strip_think = strip_think
        self._asking = Asking(
            voice,
            by=lambda: self.fingerprint,
            max_tokens=question.max_tokens,
            logprobs=True,
            read=question.read,
        )

    @property
    def scale(self) -> Scale:
        """What a difference of two ratings means."""
        return self.question.scale

    @property
    def fingerprint(self) -> str:
        """The judge and the whole question."""
        return self._named(
            {
                "schema": SCHEMA,
                "kind": "rating judge",
                "strip_think": self._strip_think,
                "temperature": str(self.temperature),
            }
        )

    def describe(self) -> str:
        """What it is, a fact a line."""
        rating = "from the probabilities of its tokens, temperature 0"
        return self._told(("rating", rating), ("scale", self.scale))

    def screen(self, prompts: Sequence[Prompt]) -> Screened:
        """Which prompts it cannot be asked about, or not all of, where its template is known."""
        return screened(self.voice, prompts, lambda p: self.question.ask(healed_prompt(p), "x"))

    def score(self, prompts: Sequence[Prompt], completions: Sequence[Completion]) -> Scores:
        """Rate row by row.

        Returns:
            Ratings ``(n,)``; nan, flagged ``unparsed``, where the reply has none.

        Raises:
            ScorerUnavailable: If the server is down or slow.
            ScorerError: If it refuses every answer, or another model answers than before.
        """
        check_rows(prompts, completions)
        shown = [self.voice.shown(c.text, think=self._strip_think) for c in completions]
        asked = [self.question.ask(healed_prompt(p), a) for p, a in zip(prompts, shown, strict=True)]
        reward = self._asking.numbers(asked) if asked else np.empty(0)
        unclear = np.isnan(reward)
        if unclear.any():
            log.warning(
                "rm_monitor: judge %s gave no rating of %d of %d answers; they are left out",
                self.name,
                int(unclear.sum()),
                len(reward),
            )
        empty = np.array([not text.strip() for text in shown], dtype=bool)
        return Scores(reward=reward, flags={"unparsed": unclear, "empty": empty})
