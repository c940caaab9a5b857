"""P(completion is better), as a language model says: both orders, unclear verdicts left out."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from rm_monitor.scorers.judge.asking import AskedJudge, Asking
from rm_monitor.scorers.judge.voices import Turns, Voice, screened
from rm_monitor.scorers.run.keys import check_rows
from rm_monitor.scorers.text.encodings import healed_prompt
from rm_monitor.types import Completion, Preferences, Prompt, Screened

__all__ = ["SCHEMA", "PairJudge", "PairQuestion"]

log = logging.getLogger("rm_monitor")

SCHEMA = 2  # raised when a change of ours changes what a judge says
_BREAK = "\u200b"


class PairQuestion(Protocol):
    """What a judge is asked about two answers, and how its reply is read."""

    @property
    def identity(self) -> Mapping[str, str]:
        """All of it, for the fingerprint."""

    @property
    def max_tokens(self) -> int:
        """Longest reply."""

    @property
    def markers(self) -> tuple[str, ...]:
        """Pieces of text that structure the question, which an answer must not be able to write."""

    def ask(self, prompt: Prompt, first: str, second: str) -> Turns:
        """The turns that ask which of two answers is better."""

    def read(self, choice: Mapping[str, Any], *, logprobs: bool = False) -> float:
        """P(the first answer is better) in [0, 1]; nan if the reply says nothing clear."""


class PairJudge(AskedJudge):
    """A preference scorer that asks a language model.

    A text against itself is exactly one half and is not asked. A reply without a clear verdict is left out
    and counted (``unparsed``), and so is a pair that is refused (``refused``).

    Args:
        voice: Who answers.
        question: What is asked.
        name: For people.
        logprobs: Read probabilities instead of the text.
        strip_think: Leave reasoning blocks out of both answers.
        kind: Of the judge, for people.
    """

    def __init__(
        self,
        voice: Voice,
        question: PairQuestion,
        *,
        name: str,
        logprobs: bool = False,
        strip_think: bool = True,
        kind: str = "",
    ) -> None:
        super().__init__(voice, question, name=name, kind=kind)
        self.question = question
        self._logprobs = logprobs
        self._strip_think = strip_think
        self._asking = Asking(
            voice,
            by=lambda: self.fingerprint,
            max_tokens=question.max_tokens,
            logprobs=logprobs,
            read=lambda choice: question.read(choice, logprobs=logprobs),
        )

    @property
    def fingerprint(self) -> str:
        """The judge, the whole question, and how the verdict is read."""
        return self._named(
            {
                "schema": SCHEMA,
                "kind": "judge",
                "logprobs": self._logprobs,
                "strip_think": self._strip_think,
            }
        )

    def describe(self) -> str:
        """What it is, a fact a line."""
        verdict = "probability of the letter" if self._logprobs else "text of the reply"
        return self._told(("verdict", f"{verdict}, both orders, temperature 0"))

    def screen(self, prompts: Sequence[Prompt]) -> Screened:
        """Which prompts it cannot be asked about, or not all of, where its template is known."""
        return screened(self.voice, prompts, lambda p: self.question.ask(healed_prompt(p), "x", "y"))

    def prefer(
        self, prompts: Sequence[Prompt], completions: Sequence[Completion], references: Sequence[Completion]
    ) -> Preferences:
        """Compare row by row.

        Returns:
            Probabilities ``(n,)``; nan where one of the two orders gave no verdict.

        Raises:
            ScorerUnavailable: If the server is down or slow.
            ScorerError: If it refuses every pair, or another model answers than before.
        """
        check_rows(prompts, completions, references)
        rows = [
            (healed_prompt(p), self._shown(c.text), self._shown(r.text))
            for p, c, r in zip(prompts, completions, references, strict=True)
        ]
        asked = [(q, a, b) for q, a, b in rows if a != b]
        both = [self.question.ask(q, a, b) for q, a, b in asked]
        both += [self.question.ask(q, b, a) for q, a, b in asked]
        said = self._asking.numbers(both) if both else np.empty(0)
        n = len(rows)
        probability, gap = np.full(n, 0.5), np.full(n, np.nan)
        differ = np.array([a != b for _, a, b in rows], dtype=bool)
        there, back = said[: len(asked)], said[len(asked) :]
        probability[differ] = 0.5 * (there + (1.0 - back))
        gap[differ] = np.abs(there - (1.0 - back))
        unclear = np.zeros(n)
        unclear[differ] = np.isnan(there) | np.isnan(back)
        if unclear.any():
            log.warning(
                "rm_monitor: judge %s gave no clear verdict on %d of %d pairs; they are left out",
                self.name,
                int(unclear.sum()),
                n,
            )
        return Preferences(probability=probability, order_gap=gap, measures={"unparsed": unclear})

    def _shown(self, text: str) -> str:
        shown = self.voice.shown(text, think=self._strip_think)
        for marker in self.question.markers:
            shown = shown.replace(marker, marker[0] + _BREAK + marker[1:])
        return shown
