"""Questions to a judge: each distinct one is asked once, remembered, and counted where it says nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from rm_monitor.errors import ScorerError
from rm_monitor.scorers.judge.voices import Turns, Voice
from rm_monitor.scorers.run.keys import digest
from rm_monitor.types import FloatArray, ValueStore

__all__ = ["AskedJudge", "Asking"]

_KEPT = 200_000


class Asking:
    """One kind of question to one judge.

    Args:
        voice: Who answers.
        by: Names judge and question: the fingerprint of what uses this.
        max_tokens: Longest reply.
        logprobs: Ask for the likeliest alternatives of each token.
        read: A reply's choice -> the number it says; nan if it says none.
    """

    def __init__(
        self,
        voice: Voice,
        *,
        by: Callable[[], str],
        max_tokens: int,
        logprobs: bool,
        read: Callable[[Mapping[str, Any]], float],
    ) -> None:
        self.unparsed = 0
        self.refused = 0
        self._voice = voice
        self._by = by
        self._max_tokens = max_tokens
        self._logprobs = logprobs
        self._read = read
        self._known: dict[bytes, float] = {}
        self._memory: ValueStore | None = None

    def remember(self, memory: ValueStore) -> None:
        """Keep verdicts here too, where the judge's identity names its weights."""
        self._memory = memory if self._voice.keeps else None

    def numbers(self, asked: Sequence[Turns]) -> FloatArray:
        """``(n,)``: what the judge says to each question, nan where it was refused or says nothing clear.

        Raises:
            ScorerUnavailable: If nobody answers.
            ScorerError: If every question was refused.
        """
        by = self._by()
        keys = [digest({"by": by, "turns": [dict(turn) for turn in turns]}) for turns in asked]
        turns_of = dict(zip(keys, asked, strict=True))
        missing = [key for key in turns_of if key not in self._known]
        if self._memory is not None and missing:
            kept = self._memory.get(missing)
            self._known |= {key: value["said"] for key, value in kept.items() if "said" in value}
            missing = [key for key in missing if key not in self._known]
        said = self._voice.answer(
            [turns_of[key] for key in missing], max_tokens=self._max_tokens, logprobs=self._logprobs
        )
        refused = [answer.refused for answer in said if answer.choice is None]
        if refused and len(refused) == len(missing):
            raise ScorerError(
                f"judge {self._voice.model!r}: every question was refused; the last time: {refused[-1]}"
            )
        read = [np.nan if answer.choice is None else self._read(answer.choice) for answer in said]
        self.refused += len(refused)
        self.unparsed += int(np.isnan(read).sum()) - len(refused)
        fresh = {key: number for key, number in zip(missing, read, strict=True) if np.isfinite(number)}
        if self._memory is not None and fresh:
            self._memory.put({key: {"said": number} for key, number in fresh.items()})
        if len(self._known) > _KEPT:
            self._known.clear()
        self._known |= fresh
        return np.array([self._known.get(key, np.nan) for key in keys], dtype=np.float64)


class Identified(Protocol):
    """A question that names all of itself."""

    @property
    def identity(self) -> Mapping[str, str]:
        """All of it, for the fingerprint."""


class AskedJudge:
    """What every judge that is asked in words has: a voice, a question's name, and what went wrong so far.

    Args:
        voice: Who answers.
        question: What is asked.
        name: For people.
        kind: Of the judge, for people.
    """

    _asking: Asking

    def __init__(self, voice: Voice, question: Identified, *, name: str, kind: str) -> None:
        self.name = name
        self.kind = kind
        self.voice = voice
        self._asked = question

    @property
    def unparsed(self) -> int:
        """Replies that say nothing clear, so far."""
        return self._asking.unparsed

    @property
    def refused(self) -> int:
        """Questions that were refused, so far."""
        return self._asking.refused

    def remember(self, memory: ValueStore) -> None:
        """Keep what is said across runs, where the judge's identity names its weights."""
        self._asking.remember(memory)

    def _named(self, facts: Mapping[str, Any]) -> str:
        """A fingerprint of these facts with the judge and the whole question."""
        voice = {f"voice.{k}": v for k, v in self.voice.identity.items()}
        return digest({**facts, **voice, **{f"prompt.{k}": v for k, v in self._asked.identity.items()}}).hex()

    def _told(self, *facts: tuple[str, str]) -> str:
        """What it is, a fact a line: who, these facts, and what the voice tells of itself."""
        who = ("judge", self.name + (f", asked as {self.kind} is" if self.kind else ""))
        return "\n".join(f"{name:<13} {value}" for name, value in (who, *facts, *self.voice.facts))
