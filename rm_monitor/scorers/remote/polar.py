"""POLAR behind a server: prompt, reference and answer in one text, as its authors' client sends it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.special import expit

from rm_monitor.errors import ScorerError, ScorerUnavailable
from rm_monitor.http import Client, HTTPFailure, Unavailable, in_order
from rm_monitor.scorers.families.polar import BETWEEN, END, polar_text
from rm_monitor.scorers.remote.render import harmless
from rm_monitor.scorers.run.keys import check_rows, digest
from rm_monitor.scorers.text.encodings import healed_prompt
from rm_monitor.text.waiting import Waiting
from rm_monitor.types import Completion, FloatArray, Message, Preferences, Prompt

__all__ = ["RemoteReferenceScorer"]

SCHEMA = 1  # raised when a change of ours changes a score
_MARKS = re.compile("|".join(map(re.escape, (BETWEEN, END))))
_BREAK = "\u200b"


class RemoteReferenceScorer:
    """P(the completion is preferred to the text of its reference), as `ReferenceScorer` says it.

    Args:
        client: The server.
        sglang: It is an SGLang server (``/classify``); else vLLM or LMDeploy (``/pooling``).
        model: The name it serves the model under.
        revision: The user's word for which weights these are; only with one are scores kept across runs.
        strip_think: Leave reasoning blocks out of both texts.
        name: For people.
        batch_size: Texts a request.
        concurrency: Requests at a time.

    Raises:
        ScorerUnavailable: If the server is down.
        ScorerError: If it gives no number for a plain text.
    """

    def __init__(
        self,
        client: Client,
        *,
        sglang: bool,
        model: str,
        revision: str | None = None,
        strip_think: bool = True,
        name: str | None = None,
        batch_size: int = 32,
        concurrency: int = 4,
    ) -> None:
        if batch_size < 1 or concurrency < 1:
            raise ValueError(
                f"`batch_size` and `concurrency` must be at least 1, got {batch_size} and {concurrency}"
            )
        self.client = client
        self.sglang = sglang
        self.model = model
        self.name = name or model or "polar"
        self.revision = revision
        self.cacheable = revision is not None
        self._strip_think = strip_think
        self._batch_size = batch_size
        self._concurrency = concurrency
        asked: list[Message] = [{"role": "user", "content": "Two plus two?"}]
        trial = [polar_text(asked, "Four.", answer) for answer in ("Four.", "No")]
        if not np.isfinite(self._scores(trial)).all():
            raise ScorerError(f"{client.url} gives plain texts no finite score: it does not serve POLAR")

    @property
    def fingerprint(self) -> str:
        """Model, revision and what is sent; not the URL."""
        return digest(
            {
                "schema": SCHEMA,
                "kind": "polar",
                "model": self.model,
                "revision": self.revision or "",
                "strip_think": self._strip_think,
            }
        ).hex()

    def describe(self) -> str:
        """What it is, a fact a line."""
        facts = [
            ("preferences", self.name),
            ("kind", "polar: how much an answer is preferred to the reference it is read beside"),
            ("server", f"{self.client.url} ({'SGLang' if self.sglang else 'vLLM or LMDeploy'})"),
            ("revision", self.revision or "not given: scores are not kept across runs"),
        ]
        return "\n".join(f"{name:<13} {value}" for name, value in facts)

    def prefer(
        self, prompts: Sequence[Prompt], completions: Sequence[Completion], references: Sequence[Completion]
    ) -> Preferences:
        """Compare row by row; a text that equals its reference is exactly one half.

        Raises:
            ScorerUnavailable: If the server is down or slow.
            ScorerError: If its reply cannot be used.
        """
        ours, theirs = self._texts(prompts, completions, references)
        unique = list(dict.fromkeys([*ours, *theirs]))
        said = dict(zip(unique, self._scores(unique), strict=True))
        score = np.array([said[text] for text in ours], dtype=np.float64)
        fixed = np.array([said[text] for text in theirs], dtype=np.float64)
        return Preferences(probability=np.asarray(expit(score - fixed)), measures={"consistency": score})

    def keys(
        self, prompts: Sequence[Prompt], completions: Sequence[Completion], references: Sequence[Completion]
    ) -> list[bytes]:
        """The content address of each comparison."""
        by = self.fingerprint
        both = zip(*self._texts(prompts, completions, references), strict=True)
        return [digest({"by": by, "texts": list(pair)}) for pair in both]

    def _texts(
        self, prompts: Sequence[Prompt], completions: Sequence[Completion], references: Sequence[Completion]
    ) -> tuple[list[str], list[str]]:
        check_rows(prompts, completions, references)
        ours, theirs = [], []
        for prompt, completion, reference in zip(prompts, completions, references, strict=True):
            messages = healed_prompt(prompt).messages
            fixed = self._shown(reference.text)
            ours.append(polar_text(messages, fixed, self._shown(completion.text)))
            theirs.append(polar_text(messages, fixed, fixed))
        return ours, theirs

    def _shown(self, text: str) -> str:
        shown, _ = harmless(text, think=self._strip_think)
        return _MARKS.sub(lambda m: m[0][0] + _BREAK + m[0][1:], shown)

    def _scores(self, texts: Sequence[str]) -> FloatArray:
        size = self._batch_size
        parts = [texts[i : i + size] for i in range(0, len(texts), size)]
        try:
            with Waiting(f"training waits for scores from {self.client.url}"):
                said = in_order(self._ask, parts, concurrency=self._concurrency)
        except Unavailable as problem:
            raise ScorerUnavailable(str(problem)) from None
        except HTTPFailure as problem:
            raise ScorerError(str(problem)) from None
        return np.array([x for part in said for x in part], dtype=np.float64)

    def _ask(self, texts: Sequence[str]) -> list[float]:
        path = "/classify" if self.sglang else "/pooling"
        body: Mapping[str, Any] = {"model": self.model, "text" if self.sglang else "input": list(texts)}
        reply = self.client.post(path, body)
        items = reply if self.sglang else reply.get("data") if isinstance(reply, Mapping) else None
        if not isinstance(items, list) or len(items) != len(texts):
            raise ScorerError(f"{self.client.url}{path}: its reply has not {len(texts)} scores")
        return [_last(item.get("embedding" if self.sglang else "data")) for item in items]


def _last(value: Any) -> float:
    """The score of the last token: a number, one number a token, or a list of one a token.

    Example:
        >>> _last(1.5), _last([0.1, 2.0]), _last([[0.1], [2.5]])
        (1.5, 2.0, 2.5)
    """
    while isinstance(value, list) and value:
        value = value[-1]
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else float("nan")
