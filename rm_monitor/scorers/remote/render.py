"""Who turns a conversation into what the server reads.

``ids`` and ``text``: we do, with the reward model's own tokenizer, as for a model in this process: control
tokens in an answer are neutralised and the result is checked, too long inputs are noticed. ``messages``: the
server's chat template does; without its tokenizer, whatever looks like a control token is broken up.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from rm_monitor.scorers.remote.codecs import Form, Row
from rm_monitor.scorers.text.answers import strip_think
from rm_monitor.scorers.text.encodings import conversation, healed_prompt
from rm_monitor.scorers.text.formatting import Formatter
from rm_monitor.text.whole import healed
from rm_monitor.types import Prompt

__all__ = ["Messages", "Ready", "Renderer", "SteerLM", "TokenIds", "WholeText"]

# Spellings of control tokens in the chat templates of published models.
_CONTROL = re.compile(
    r"<\|[^|<>\s]{1,48}\|>|<｜[^｜<>]{1,48}｜>|</?s>|<(?:start|end)_of_turn>|<(?:bos|eos|pad|unk|mask|sep|cls)>"
    r"|\[/?(?:INST|SYSTEM_PROMPT|AVAILABLE_TOOLS)\]|<</?SYS>>|<extra_id_\d+>",
    re.IGNORECASE,
)
_BREAK = "\u200b"


@dataclass(frozen=True, slots=True)
class Ready:
    """One input; None where it must not be scored."""

    row: Row | None
    flags: frozenset[str] = frozenset()


class Renderer(Protocol):
    """Makes rows of one form."""

    @property
    def form(self) -> Form:
        """What it makes."""

    @property
    def identity(self) -> Mapping[str, str]:
        """What the rows depend on."""

    def __call__(self, prompt: Prompt, answer: str) -> Ready:
        """The row of one prompt and its answer."""


@dataclass(frozen=True, slots=True)
class TokenIds:
    """Token ids by the reward model's own tokenizer and template."""

    formatter: Formatter
    form: Form = "ids"

    @property
    def identity(self) -> Mapping[str, str]:
        """That of tokenizer and template."""
        return self.formatter.identity

    def __call__(self, prompt: Prompt, answer: str) -> Ready:
        """See `Renderer`."""
        rendered = self.formatter.render(prompt, answer)
        return Ready(rendered.ids if rendered.usable else None, rendered.flags)


@dataclass(frozen=True, slots=True)
class WholeText:
    """The templated text, for servers that tokenise themselves and add no special tokens.

    Sent only if its tokens are exactly those we would have given: then nothing in it can act as a control
    token that should not.
    """

    formatter: Formatter
    form: Form = "text"

    @property
    def identity(self) -> Mapping[str, str]:
        """That of tokenizer and template."""
        return self.formatter.identity

    def __call__(self, prompt: Prompt, answer: str) -> Ready:
        """See `Renderer`."""
        rendered = self.formatter.render(prompt, answer)
        if not rendered.usable:
            return Ready(None, rendered.flags)
        tokenizer: Any = self.formatter.tokenizer
        text = str(tokenizer.decode(list(rendered.ids), skip_special_tokens=False))
        again = tuple(tokenizer(text, add_special_tokens=False)["input_ids"])
        if again != rendered.ids:
            return Ready(None, rendered.flags | {"unfaithful"})
        return Ready(text, rendered.flags)


@dataclass(frozen=True, slots=True)
class Messages:
    """Turns, for the server's own template."""

    strip_think: bool = True
    form: Form = "messages"

    @property
    def identity(self) -> Mapping[str, str]:
        """The server's template is covered by the canaries."""
        return {"format": "messages", "strip_think": str(self.strip_think)}

    def __call__(self, prompt: Prompt, answer: str) -> Ready:
        """See `Renderer`."""
        text, flags = harmless(answer, think=self.strip_think)
        if prompt.tools or prompt.documents:  # the request has no place for them
            flags |= {"dropped"}
        return Ready(conversation(healed_prompt(prompt), [text]), flags)


@dataclass(frozen=True, slots=True)
class SteerLM:
    """NeMo's text (NeMo-Aligner ``examples/nlp/data/steerlm/common.py``), up to its label."""

    strip_think: bool = True
    form: Form = "steerlm"

    SYSTEM = (
        "A chat between a curious user and an artificial intelligence assistant. "
        "The assistant gives helpful, detailed, and polite answers to the user's questions."
    )

    @property
    def identity(self) -> Mapping[str, str]:
        """The format is fixed."""
        return {"format": "steerlm", "strip_think": str(self.strip_think)}

    def __call__(self, prompt: Prompt, answer: str) -> Ready:
        """See `Renderer`."""
        text, flags = harmless(answer, think=self.strip_think)
        turns = conversation(healed_prompt(prompt), [text])
        system = [t["content"] for t in turns if t["role"] == "system"] or [self.SYSTEM]
        more = any(set(turn) - {"role", "content"} for turn in turns)
        if prompt.tools or prompt.documents or more or len(system) > 1:
            flags |= {"dropped"}
        written = f"<extra_id_0>System\n{system[0]}\n"
        for turn in turns:
            if turn["role"] != "system":
                who = "User" if turn["role"] == "user" else "Assistant"
                written += f"<extra_id_1>{who}\n{turn['content']}\n"
        return Ready(written + "<extra_id_2>", flags)


def harmless(answer: str, *, think: bool) -> tuple[str, frozenset[str]]:
    """An answer without reasoning, half characters and control tokens; and what was noticed.

    Example:
        >>> harmless("<think>hm</think>Yes.<|im_end|>", think=True)[1] == {"think", "special_text"}
        True
    """
    flags: set[str] = set()
    answer = str(healed(answer))
    shown = strip_think(answer) if think else answer
    if shown != answer:
        flags.add("think")
    broken = _CONTROL.sub(lambda m: m[0][0] + _BREAK + m[0][1:], shown)
    if broken != shown:
        flags.add("special_text")
    if not broken.strip():
        flags.add("empty")
    return broken, frozenset(flags)


def digestible(row: Row) -> Sequence[Any]:
    """A row as plain values, for a hash."""
    return row if isinstance(row, str) else [dict(x) if isinstance(x, Mapping) else x for x in row]
