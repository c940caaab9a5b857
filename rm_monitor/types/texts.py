"""What is asked and what is answered."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from typing_extensions import NotRequired, TypedDict  # typing has NotRequired from Python 3.11 on

__all__ = ["Completion", "FinishReason", "Message", "Prompt", "ReferenceSet"]

FinishReason: TypeAlias = Literal["stop", "length", "unknown"]

_FIRST_WORDS = 40  # characters of a prompt by which people know it again


class Message(TypedDict):
    """One turn of a conversation, as in transformers; further keys that a template reads are kept."""

    role: str
    content: str  # "" for a turn of tool calls alone
    name: NotRequired[str]
    tool_calls: NotRequired[list[dict[str, Any]]]
    tool_call_id: NotRequired[str]
    reasoning_content: NotRequired[str]
    thinking: NotRequired[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """A conversation that ends where the model is to answer.

    Attributes:
        id: Stable across runs: the key of every cache and of every paired comparison.
        messages: The turns so far, each as it came; the last one is not the assistant's.
        raw: The prompt came as plain text that is to be continued as it stands, without a chat template.
        rendered: That text, where a chat template has written it out already and ``messages`` are the turns
            that were read back from it, for judges and people; empty where ``messages`` hold the text itself.
        tags: Names of the slices this prompt belongs to; each gets a curve of its own.
        cluster: Prompts that are not independent (turns of one conversation) share a cluster; empty: alone.
        tools: Schemas of the tools that the model may call, for the chat template.
        documents: Texts the answer is to rest on, for the chat template.
        template_kwargs: Further variables of the chat template, such as ``enable_thinking``.
        parts: Column -> text, where the last turn was joined from several columns (Alpaca's ``instruction``
            and ``input``): what a prompt format may keep apart. They ask nothing more than the turn does.
        row: 1-based row of the source, for messages to people; 0 unknown.

    Example:
        >>> prompt = Prompt(id="p1", messages=({"role": "user", "content": "Hello!"},), row=3)
        >>> prompt.text, prompt.label
        ('Hello!', "row 3 'Hello!'")
    """

    id: str
    messages: tuple[Message, ...]
    raw: bool = False
    rendered: str = ""
    tags: tuple[str, ...] = ()
    cluster: str = ""
    tools: tuple[Mapping[str, Any], ...] = ()
    documents: tuple[Mapping[str, Any], ...] = ()
    template_kwargs: Mapping[str, Any] = field(default_factory=dict)
    parts: Mapping[str, str] = field(default_factory=dict)
    row: int = field(default=0, compare=False)

    @property
    def text(self) -> str:
        """All that is asked as text: the content itself for one plain turn, else ``role: content`` lines.

        Tools, documents and tool calls are written as JSON lines, so that no reader of text misses them.
        """
        beside = {"tools": self.tools, "documents": self.documents}
        lines = [f"{name}: {_line(value)}" for name, value in beside.items() if value]
        if len(self.messages) == 1 and not lines and set(self.messages[0]) == {"role", "content"}:
            return self.messages[0]["content"]
        return "\n\n".join([*lines, *(_turn(message) for message in self.messages)])

    @property
    def question(self) -> dict[str, Any]:
        """Everything that is asked, as plain values for JSON and for hashing; what is absent has no key.

        Two prompts ask the same if and only if this is equal; ``id``, ``tags``, ``cluster`` and ``row`` are
        not part of it.
        """
        asked: dict[str, Any] = {"messages": [dict(message) for message in self.messages]}
        if self.raw:
            asked["raw"] = True
        if self.rendered:
            asked["rendered"] = self.rendered
        if self.tools:
            asked["tools"] = [dict(tool) for tool in self.tools]
        if self.documents:
            asked["documents"] = [dict(document) for document in self.documents]
        if self.template_kwargs:
            asked["template_kwargs"] = dict(self.template_kwargs)
        return asked

    @property
    def label(self) -> str:
        """How a message names this prompt to people: its row and its first words, never a hash."""
        words = " ".join(self.messages[-1]["content"].split())
        short = words if len(words) <= _FIRST_WORDS else words[: _FIRST_WORDS - 3] + "..."
        return f"row {self.row} {short!r}" if self.row else f"{short!r}"


def _turn(message: Message) -> str:
    """``role: content``, and whatever else the turn holds."""
    more = {name: value for name, value in message.items() if name not in ("role", "content")}
    return f"{message['role']}: {message['content']}" + (f"\n{_line(more)}" if more else "")


def _line(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, default=str)


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """An answer to a prompt: the checkpoint's, or a fixed reference's.

    Attributes:
        prompt_id: The prompt it answers.
        text: The answer, without the policy's control tokens and without its reasoning.
        sample: 0-based number of the sample among the answers to this prompt.
        finish_reason: ``stop`` the model ended it, ``length`` it was cut off, ``unknown``.
        n_tokens: Tokens generated, reasoning and the end token included; -1 unknown.
        reasoning: What the model said before the answer, without what delimits it.
        reasoning_tokens: Tokens of the reasoning, what delimits it included; -1 unknown, or a model that is
            not known to reason.
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
    reasoning: str = ""
    reasoning_tokens: int = -1
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
