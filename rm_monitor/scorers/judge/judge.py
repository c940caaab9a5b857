"""`LLMJudge`: a preference scorer that asks a language model behind an OpenAI-compatible endpoint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from rm_monitor.errors import ScorerError
from rm_monitor.http import Client, Clock, Limits
from rm_monitor.scorers.judge.pairs import PairJudge, PairQuestion
from rm_monitor.scorers.judge.prompt import LETTER, JudgePrompt
from rm_monitor.scorers.judge.voices import PATH, ServerVoice
from rm_monitor.types import Prompt

__all__ = ["LLMJudge", "server_voice"]

_TRIAL = Prompt(id="trial", messages=({"role": "user", "content": "What is two plus two?"},))


class LLMJudge(PairJudge):
    """P(completion is better), as a language model says, averaged over both orders of the answers.

    With log-probabilities it is the probability of the letter; without, the share of the two orders that
    prefer the completion. A reply without a clear verdict is left out and counted (``unparsed``), and so is a
    pair the server refuses (``refused``). A text against itself is exactly one half and is not asked.

    Args:
        url: The server, without ``/v1/chat/completions``.
        model: The judge's name there; best one with a date in it.
        prompt: What it is asked: a `JudgePrompt`, or the question of a published judge.
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

    voice: ServerVoice

    def __init__(
        self,
        url: str,
        model: str,
        *,
        prompt: PairQuestion = LETTER,
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
        letter = isinstance(prompt, JudgePrompt) and prompt.letter
        if logprobs and not letter:
            raise ValueError("`logprobs` needs a prompt whose reply begins with the letter")
        voice = server_voice(
            url,
            model,
            key_env=key_env,
            revision=revision,
            concurrency=concurrency,
            extra=extra,
            limits=limits,
            plain_http=plain_http,
            clock=clock,
        )
        tries = [logprobs] if logprobs is not None else [True, False] if letter else [False]
        chosen = _probe(voice, prompt, [bool(one) for one in tries])
        super().__init__(
            voice,
            prompt,
            name=name or model,
            logprobs=chosen,
            strip_think=strip_think,
            kind="" if isinstance(prompt, JudgePrompt) else prompt.identity.get("kind", ""),
        )

    @property
    def client(self) -> Client:
        """The server."""
        return self.voice.client

    @property
    def prompt(self) -> PairQuestion:
        """What it is asked."""
        return self.question

    @property
    def revision(self) -> str | None:
        """The user's word for which weights these are."""
        return self.voice.revision


def server_voice(
    url: str,
    model: str,
    *,
    key_env: str | None = None,
    revision: str | None = None,
    concurrency: int = 8,
    extra: Mapping[str, Any] | None = None,
    limits: Limits | None = None,
    plain_http: bool = False,
    clock: Clock | None = None,
) -> ServerVoice:
    """The voice of a server, as `LLMJudge` is told of it."""
    base = url.rstrip("/").removesuffix(PATH).removesuffix("/v1")
    client = Client(base, key_env=key_env, limits=limits, plain_http=plain_http, clock=clock)
    return ServerVoice(client, model, revision=revision, concurrency=concurrency, extra=extra)


def _probe(voice: ServerVoice, question: PairQuestion, tries: list[bool]) -> bool:
    """Whether verdicts come with log-probabilities; a judge that fails on a trivial pair is refused."""
    turns = question.ask(_TRIAL, "Four.", "Banana.")
    reason = "no clear verdict"
    for logprobs in tries:
        (answer,) = voice.answer([turns], max_tokens=question.max_tokens, logprobs=logprobs)
        if answer.choice is None:  # a server that knows no log-probabilities says so like this
            reason = answer.refused
            continue
        if np.isfinite(question.read(answer.choice, logprobs=logprobs)):
            return logprobs
        message = answer.choice.get("message")
        said = message.get("content") if isinstance(message, Mapping) else None
        reason = f"it answered {str(said)[:80]!a}"
    raise ScorerError(
        f"judge {voice.model!r} at {voice.client.url} did not say which of two trivial answers is better: "
        f"{reason}. Try another model, or prompt=REASONED"
    )
