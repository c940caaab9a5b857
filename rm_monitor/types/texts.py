"""What is asked and what is answered."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal, TypeAlias, TypedDict

__all__ = ["Completion", "FinishReason", "Message", "Prompt", "ReferenceSet"]

FinishReason: TypeAlias = Literal["stop", "length", "unknown"]


class Message(TypedDict):
    """One turn of a conversation, as in transformers."""

    role: str
    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """A conversation that ends where the model is to answer.

    Attributes:
        id: Stable across runs: the key of every cache and of every paired comparison.
        messages: The turns so far; the last one is not the assistant's.
        raw: The prompt came as plain text that is to be continued as it stands, without a chat template.
        tags: Names of the slices this prompt belongs to; each gets a curve of its own.
        cluster: Prompts that are not independent (turns of one conversation) share a cluster; empty: alone.

    Example:
        >>> Prompt(id="p1", messages=({"role": "user", "content": "Hello!"},)).text
        'Hello!'
    """

    id: str
    messages: tuple[Message, ...]
    raw: bool = False
    tags: tuple[str, ...] = ()
    cluster: str = ""

    @property
    def text(self) -> str:
        """The prompt as text: the content itself for one turn, else ``role: content`` lines."""
        if len(self.messages) == 1:
            return self.messages[0]["content"]
        return "\n\n".join(f"{m['role']}: {m['content']}" for m in self.messages)


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """An answer to a prompt: the checkpoint's, or a fixed reference's.

    Attributes:
        prompt_id: The prompt it answers.
        text: The answer without the policy's control tokens.
        sample: 0-based number of the sample among the answers to this prompt.
        finish_reason: ``stop`` the model ended it, ``length`` it was cut off, ``unknown``.
        n_tokens: Tokens generated, the end token included; -1 unknown.
        entropy: Mean over generated positions of the entropy of the ten likeliest next tokens,
            renormalised, in bits; nan unknown (arXiv 2410.11677, section 4).
        top10_mass: Mean over generated positions of the probability of the ten likeliest tokens, in
            [0, 1]; nan unknown.
        kl: Mean over generated positions of the divergence KL(policy || initial policy) of the next token,
            in nats; nan unknown.
        tokens: Ids generated, the end token included; only while an evaluation runs, then ``()``.
    """

    prompt_id: str
    text: str
    sample: int = 0
    finish_reason: FinishReason = "unknown"
    n_tokens: int = -1
    entropy: float = math.nan
    top10_mass: float = math.nan
    kl: float = math.nan
    tokens: tuple[int, ...] = field(default=(), repr=False, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceSet:
    """Fixed completions that others are compared with, one for each prompt, in prompt order."""

    name: str
    completions: tuple[Completion, ...]
    source: str = ""  # where they came from, in words: a column, a file, "the initial policy"
