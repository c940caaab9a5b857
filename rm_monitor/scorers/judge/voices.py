"""Who answers a judge's questions: a server, or a language model in this process.

Both give what an OpenAI-compatible server gives: a ``choice`` with ``message.content``, ``finish_reason``
and, if asked for, ``logprobs.content``: of each token its likeliest alternatives.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from rm_monitor.errors import ScorerError, ScorerUnavailable
from rm_monitor.http import BadReply, Client, HTTPFailure, Unavailable, in_order
from rm_monitor.scorers.remote.render import harmless
from rm_monitor.scorers.text.coverage import parts
from rm_monitor.text.waiting import Waiting
from rm_monitor.types import Prompt, Screened

__all__ = ["PATH", "Answer", "ServerVoice", "Turns", "Voice", "screened"]

PATH = "/v1/chat/completions"
THIS_QUESTION = frozenset({400, 413, 422})  # too long, or refused by a content filter
_TOP = 20  # alternatives asked for: the most that OpenAI and vLLM give by default
Turns = Sequence[Mapping[str, Any]]


class Answer(NamedTuple):
    """What one question brought: a choice, or why there is none."""

    choice: Mapping[str, Any] | None
    refused: str = ""


class Voice(Protocol):
    """Answers conversations at temperature 0."""

    @property
    def model(self) -> str:
        """What its user calls it."""

    @property
    def identity(self) -> Mapping[str, Any]:
        """What its answers depend on beside the question."""

    @property
    def keeps(self) -> bool:
        """Whether that names the weights, so that answers may be kept across runs."""

    @property
    def facts(self) -> Sequence[tuple[str, str]]:
        """What it is, for people."""

    def shown(self, text: str, *, think: bool) -> str:
        """What a judge is shown of an answer: no reasoning, and no control tokens spelled in text."""

    def unread(self, prompt: Prompt, turns: Turns) -> tuple[str, Sequence[str]]:
        """Why it cannot be asked these turns, and which parts of the prompt it would not read of them."""

    def answer(self, asked: Sequence[Turns], *, max_tokens: int, logprobs: bool) -> list[Answer]:
        """One answer a conversation, in their order.

        Raises:
            ScorerUnavailable: If nobody answers.
            ScorerError: If what comes back cannot be used.
        """


class ServerVoice:
    """A language model behind an OpenAI-compatible server.

    Args:
        client: The server.
        model: Its name there.
        revision: The user's word for which weights these are.
        concurrency: Requests at a time.
        extra: Further fields of the request; None as a value leaves a field out.
    """

    def __init__(
        self,
        client: Client,
        model: str,
        *,
        revision: str | None = None,
        concurrency: int = 8,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        if concurrency < 1:
            raise ValueError(f"`concurrency` must be at least 1, got {concurrency}")
        self.client = client
        self.model = model
        self.revision = revision
        self.served: str | None = None  # what it calls itself; known with the first answer
        self._concurrency = concurrency
        self._extra = dict(extra or {})

    @property
    def identity(self) -> Mapping[str, Any]:
        """Names and revision, and what else the request holds; not the URL."""
        return {
            "model": self.model,
            "served": self.served or "",
            "revision": self.revision or "",
            "extra": self._extra,
        }

    @property
    def keeps(self) -> bool:
        """Only with a revision: nobody can see from outside which weights a server has."""
        return self.revision is not None

    @property
    def facts(self) -> Sequence[tuple[str, str]]:
        """Server and revision."""
        return (
            ("server", f"{self.client.url}, which calls it {self.served or self.model}"),
            ("revision", self.revision or "not given: verdicts are not kept across runs"),
        )

    def shown(self, text: str, *, think: bool) -> str:
        """Whatever looks like a control token is broken: the server's tokenizer is not known."""
        return harmless(text, think=think)[0]

    def unread(self, prompt: Prompt, turns: Turns) -> tuple[str, Sequence[str]]:
        """Which parts are not in the turns; what the server's template makes of them it does not say."""
        held = json.dumps([dict(turn) for turn in turns], ensure_ascii=False, default=str)

        def is_in(text: str) -> bool:
            return json.dumps(text, ensure_ascii=False)[1:-1] in held

        return "", [p.name for p in parts(prompt) if not all(is_in(text) for text in p.texts)]

    def answer(self, asked: Sequence[Turns], *, max_tokens: int, logprobs: bool) -> list[Answer]:
        """See `Voice`."""

        def ask(turns: Turns) -> Answer:
            return self._ask(turns, max_tokens, logprobs)

        try:
            with Waiting(f"training waits for the judge behind {self.client.url}"):
                return in_order(ask, asked, concurrency=self._concurrency)
        except Unavailable as problem:
            raise ScorerUnavailable(str(problem)) from None
        except HTTPFailure as problem:
            raise ScorerError(str(problem)) from None

    def _ask(self, turns: Turns, max_tokens: int, logprobs: bool) -> Answer:
        body: dict[str, Any] = {
            "model": self.model,
            "messages": list(turns),
            "temperature": 0,
            "max_tokens": max_tokens,
            "seed": 0,
        }
        if logprobs:
            body |= {"logprobs": True, "top_logprobs": _TOP}
        body = {k: v for k, v in {**body, **self._extra}.items() if v is not None}
        try:
            reply = self.client.post(PATH, body)
        except BadReply as problem:
            if problem.status not in THIS_QUESTION:
                raise
            return Answer(None, refused=str(problem))
        choice = _choice(reply, self.client.url)
        served = str(reply.get("model", ""))
        if self.served is None:
            self.served = served
        elif served != self.served:
            raise ScorerError(
                f"{self.client.url} answered with the model {served!a}, and with {self.served!a} when this "
                "run began: name a model that does not move, or start a new run"
            )
        return Answer(choice)


def _choice(reply: Any, where: str) -> Mapping[str, Any]:
    choices = reply.get("choices") if isinstance(reply, Mapping) else None
    if not isinstance(choices, list) or len(choices) != 1 or not isinstance(choices[0], Mapping):
        raise ScorerError(f"{where}{PATH}: its reply has no single choice")
    return choices[0]


def screened(voice: Voice, prompts: Sequence[Prompt], ask: Callable[[Prompt], Turns]) -> Screened:
    """What is wrong with prompts whatever the answers are.

    Args:
        voice: Who answers.
        prompts: Any.
        ask: The question about a prompt and short answers.
    """
    unscorable, incomplete = {}, {}
    for prompt in prompts:
        refused, parts = voice.unread(prompt, ask(prompt))
        if refused:
            unscorable[prompt.id] = refused
        elif parts:
            incomplete[prompt.id] = f"it does not read {' and '.join(parts)}"
    return Screened(unscorable, incomplete)
