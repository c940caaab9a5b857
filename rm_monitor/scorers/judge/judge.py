"""`LLMJudge`: a preference scorer that asks a language model behind an OpenAI-compatible endpoint."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from rm_monitor.errors import ScorerError, ScorerUnavailable
from rm_monitor.http import BadReply, Client, Clock, HTTPFailure, Limits, Unavailable, in_order
from rm_monitor.scorers.judge.prompt import LETTER, JudgePrompt
from rm_monitor.scorers.remote.render import harmless
from rm_monitor.scorers.run.in_process import check_rows, digest
from rm_monitor.types import Completion, FloatArray, Message, Preferences, Prompt, ValueStore

__all__ = ["LLMJudge"]

log = logging.getLogger("rm_monitor")

SCHEMA = 1  # raised when a change of ours changes what a judge says
_PATH = "/v1/chat/completions"
_THIS_PAIR = frozenset({400, 413, 422})  # too long, or refused by a content filter
_TOP = 20  # alternatives asked for: the most that OpenAI and vLLM give by default
_KEPT = 200_000


class Verdict(NamedTuple):
    """What one question brought: P(the first answer is better), or why the server refused it."""

    first: float = math.nan
    refused: str = ""


class LLMJudge:
    """P(completion is better), as a language model says, averaged over both orders of the answers.

    With log-probabilities it is the probability of the letter; without, the share of the two orders that
    prefer the completion. A reply without a clear verdict is left out and counted (``unparsed``), and so is a
    pair the server refuses (``refused``). A text against itself is exactly one half and is not asked.

    Args:
        url: The server, without ``/v1/chat/completions``.
        model: The judge's name there; best one with a date in it.
        prompt: What it is asked.
        key_env: Environment variable with the key.
        revision: Your word for which weights these are; only with one are verdicts kept across runs.
        concurrency: Requests at a time.
        logprobs: None: use them if the server gives them; False: read the text.
        extra: Further fields of the request; None as a value leaves a field out (``{"seed": None}``).
        limits: Time-outs, retries and sizes.
        plain_http: Let the key travel over plain http to another machine.
        strip_think: Leave reasoning blocks out of both answers.
        name: For people.
        clock: Time and chance, for tests.

    Raises:
        ValueError: If an argument is out of range.
        ScorerUnavailable: If the server is down.
        ScorerError: If it cannot judge a trivial pair.
    """

    def __init__(
        self,
        url: str,
        model: str,
        *,
        prompt: JudgePrompt = LETTER,
        key_env: str | None = None,
        revision: str | None = None,
        concurrency: int = 8,
        logprobs: bool | None = None,
        extra: Mapping[str, Any] | None = None,
        limits: Limits | None = None,
        plain_http: bool = False,
        strip_think: bool = True,
        name: str | None = None,
        clock: Clock | None = None,
    ) -> None:
        if concurrency < 1:
            raise ValueError(f"`concurrency` must be at least 1, got {concurrency}")
        if logprobs and not prompt.letter:
            raise ValueError("`logprobs` needs a prompt whose reply begins with the letter")
        base = url.rstrip("/").removesuffix(_PATH).removesuffix("/v1")
        self.client = Client(base, key_env=key_env, limits=limits, plain_http=plain_http, clock=clock)
        self.model = model
        self.name = name or model
        self.prompt = prompt
        self.revision = revision
        self.unparsed = 0
        self.refused = 0
        self._concurrency = concurrency
        self._extra = dict(extra or {})
        self._strip_think = strip_think
        self._known: dict[bytes, float] = {}
        self._memory: ValueStore | None = None
        self._logprobs, self._served = self._probe(logprobs)

    @property
    def fingerprint(self) -> str:
        """The judge's name and revision, the whole question, and how the verdict is read; not the URL."""
        return digest(
            {
                "schema": SCHEMA,
                "kind": "judge",
                "model": self.model,
                "served": self._served,
                "revision": self.revision or "",
                "logprobs": self._logprobs,
                "strip_think": self._strip_think,
                "extra": self._extra,
                **{f"prompt.{k}": v for k, v in self.prompt.identity.items()},
            }
        ).hex()

    def describe(self) -> str:
        """What it is, a fact a line."""
        verdict = "probability of the letter" if self._logprobs else "text of the reply"
        facts = [
            ("judge", self.name),
            ("server", f"{self.client.url}, which calls it {self._served or self.model}"),
            ("verdict", f"{verdict}, both orders, temperature 0"),
            ("revision", self.revision or "not given: verdicts are not kept across runs"),
        ]
        return "\n".join(f"{name:<13} {value}" for name, value in facts)

    def remember(self, memory: ValueStore) -> None:
        """Keep verdicts here too, if the judge has a revision."""
        self._memory = memory if self.revision is not None else None

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
            (p.text, self._shown(c.text), self._shown(r.text))
            for p, c, r in zip(prompts, completions, references, strict=True)
        ]
        asked = [(q, a, b) for q, a, b in rows if a != b]
        said = self._verdicts([(q, a, b) for q, a, b in asked] + [(q, b, a) for q, a, b in asked])
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
        return harmless(text, think=self._strip_think)[0]

    # ------------------------------------------------------------------ asking

    def _verdicts(self, questions: Sequence[tuple[str, str, str]]) -> FloatArray:
        """P(first) of each (question, first, second); each distinct one is asked once and remembered."""
        turns = {q: self.prompt.ask(*q) for q in questions}
        keys = {q: digest({"by": self.fingerprint, "turns": messages}) for q, messages in turns.items()}
        missing = [q for q in turns if keys[q] not in self._known]
        if self._memory is not None and missing:
            kept = self._memory.get([keys[q] for q in missing])
            self._known |= {key: value["first"] for key, value in kept.items() if "first" in value}
            missing = [q for q in missing if keys[q] not in self._known]
        said = dict(zip(missing, self._ask_all([turns[q] for q in missing]), strict=True))
        refused = [verdict.refused for verdict in said.values() if verdict.refused]
        if refused and len(refused) == len(missing):
            raise ScorerError(f"every pair was refused; the last time: {refused[-1]}")
        self.refused += len(refused)
        self.unparsed += sum(not v.refused and np.isnan(v.first) for v in said.values())
        fresh = {keys[q]: v.first for q, v in said.items() if np.isfinite(v.first)}
        if self._memory is not None and fresh:
            self._memory.put({key: {"first": p} for key, p in fresh.items()})
        if len(self._known) > _KEPT:
            self._known.clear()
        self._known |= fresh
        return np.array([self._known.get(keys[q], np.nan) for q in questions], dtype=np.float64)

    def _ask_all(self, turns: Sequence[list[Message]]) -> list[Verdict]:
        try:
            return in_order(self._ask, turns, concurrency=self._concurrency)
        except Unavailable as problem:
            raise ScorerUnavailable(str(problem)) from None
        except HTTPFailure as problem:
            raise ScorerError(str(problem)) from None

    def _ask(self, messages: list[Message]) -> Verdict:
        try:
            reply = self.client.post(_PATH, self._body(messages, self._logprobs))
        except BadReply as problem:
            if problem.status not in _THIS_PAIR:
                raise
            return Verdict(refused=str(problem))
        choice = _choice(reply, self.client.url)
        served = str(reply.get("model", ""))
        if served != self._served:
            raise ScorerError(
                f"{self.client.url} answered with the model {served!a}, and with {self._served!a} when this "
                "run began: name a model that does not move, or start a new run"
            )
        return Verdict(self.prompt.read(choice, logprobs=self._logprobs))

    def _body(self, messages: list[Message], logprobs: bool) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": self.model,
            "messages": messages,
            "temperature": 0,
            "max_tokens": self.prompt.max_tokens,
            "seed": 0,
        }
        if logprobs:
            body |= {"logprobs": True, "top_logprobs": _TOP}
        return {k: v for k, v in {**body, **self._extra}.items() if v is not None}

    def _probe(self, wanted: bool | None) -> tuple[bool, str]:
        """Whether verdicts come with log-probabilities, and what the server calls the model."""
        messages = self.prompt.ask("What is two plus two?", "Four.", "Banana.")
        tries = [wanted] if wanted is not None else [True, False] if self.prompt.letter else [False]
        reason = "no clear verdict"
        for logprobs in tries:
            try:
                reply = self.client.post(_PATH, self._body(messages, bool(logprobs)))
            except Unavailable as problem:
                raise ScorerUnavailable(str(problem)) from None
            except BadReply as problem:
                reason = str(problem)
                if problem.status in _THIS_PAIR:  # a server that knows no log-probabilities says so like this
                    continue
                raise ScorerError(reason) from None
            choice = _choice(reply, self.client.url)
            if np.isfinite(self.prompt.read(choice, logprobs=bool(logprobs))):
                return bool(logprobs), str(reply.get("model", ""))
            reason = f"it answered {str(_text(choice))[:80]!a}"
        raise ScorerError(
            f"judge {self.model!r} at {self.client.url} did not say which of two trivial answers is better: "
            f"{reason}. Try another model, or prompt=REASONED"
        )


def _choice(reply: Any, where: str) -> Mapping[str, Any]:
    choices = reply.get("choices") if isinstance(reply, Mapping) else None
    if not isinstance(choices, list) or len(choices) != 1 or not isinstance(choices[0], Mapping):
        raise ScorerError(f"{where}{_PATH}: its reply has no single choice")
    return choices[0]


def _text(choice: Mapping[str, Any]) -> Any:
    message = choice.get("message")
    return message.get("content") if isinstance(message, Mapping) else None
