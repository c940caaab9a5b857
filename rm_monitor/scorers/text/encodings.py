"""Conversation -> token ids, in one call of the reward model's own tokenizer.

Rendering to text and tokenising that text again is how scores go wrong: the template writes the
beginning-of-sequence token and the tokenizer adds another.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple, Protocol

from rm_monitor.errors import ScorerError
from rm_monitor.text.trial import rendered
from rm_monitor.text.whole import frozen_dates, healed
from rm_monitor.types import Prompt

__all__ = [
    "ChatEncoding",
    "Encoded",
    "Encoding",
    "PairEncoding",
    "TextEncoding",
    "conversation",
    "freeze_dates",
    "healed_prompt",
    "own_copy",
    "tokenizer_digest",
]

Bos = Literal["template", "one", "none"]


class Encoded(NamedTuple):
    """One input of a reward model.

    Attributes:
        ids: Its tokens.
        types: For encoders, which of the two texts each token belongs to.
        start: Where the answer begins, for those that read all of its tokens.
        too_long: A part of it is longer than its family reads, whatever the whole is.
    """

    ids: tuple[int, ...]
    types: tuple[int, ...] | None = None
    start: int = 0
    too_long: bool = False


class Encoding(Protocol):
    """A reward model's input format."""

    @property
    def tokenizer(self) -> Any:
        """The reward model's own tokenizer."""

    @property
    def template(self) -> str:
        """The text of the template, where control tokens are looked for."""

    @property
    def markers(self) -> tuple[str, ...]:
        """Pieces of text that structure the input though they are not tokens."""

    @property
    def identity(self) -> Mapping[str, str]:
        """What the ids depend on."""

    def __call__(self, prompt: Prompt, *answers: str) -> Encoded:
        """The ids of a prompt and its answer; two answers for a model that compares them."""


@dataclass(frozen=True, slots=True)
class ChatEncoding:
    """The tokenizer's own chat template, without generation prompt.

    Attributes:
        tokenizer: The reward model's own.
        template: Its chat template, dates frozen.
        bos: ``template`` leaves the ids as the template gives them; ``one`` and ``none`` force the number of
            beginning-of-sequence tokens (FsfairX and the RLHFlow pair model were trained without any).
    """

    tokenizer: Any
    template: str
    bos: Bos = "template"
    markers: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        tokenizer: Any,
        *,
        template: str | None = None,
        bos: Bos = "template",
        name: str = "the reward model",
    ) -> ChatEncoding:
        """The encoding of this tokenizer.

        Raises:
            ScorerError: If it has no chat template and none is given.
        """
        if bos not in ("template", "one", "none"):
            raise ValueError(f"`bos` must be 'template', 'one' or 'none', got {bos!r}")
        template = template or tokenizer.chat_template
        if isinstance(template, dict):
            template = template.get("default")
        if not template:
            raise ScorerError(
                f"the tokenizer of {name} has no chat template, so its input format is not known: pass "
                "`tokenizer=` with one, `chat_template=` (Jinja text), or `input_format='plain'` for "
                "prompt and "
                "answer as running text"
            )
        return cls(tokenizer=tokenizer, template=freeze_dates(template), bos=bos)

    @property
    def identity(self) -> Mapping[str, str]:
        """Template and number of beginning-of-sequence tokens."""
        return {"format": "chat", "template": _digest(self.template), "bos": self.bos}

    def __call__(self, prompt: Prompt, *answers: str) -> Encoded:
        """The ids of a conversation whose last turn is the answer."""
        return Encoded(self.ids(conversation(prompt, answers), asked=prompt))

    def ids(
        self,
        turns: Sequence[Mapping[str, Any]],
        *,
        generation_prompt: bool = False,
        asked: Prompt | None = None,
    ) -> tuple[int, ...]:
        """One call of the template.

        Args:
            turns: The conversation.
            generation_prompt: Open the turn that would answer.
            asked: The prompt whose tools and documents the template is given. Its further template arguments
                are the policy's and not for a reward model's template.
        """
        ids: list[int] = rendered(
            self.tokenizer,
            list(map(dict, turns)),
            template=self.template,
            **_beside(asked),
            tokenize=True,
            add_generation_prompt=generation_prompt,
            return_dict=False,
            tokenizer_kwargs={"verbose": False},  # what is too long is counted and said once, not here
        )
        first = self.tokenizer.bos_token_id
        if self.bos != "template" and first is not None:
            while ids and ids[0] == first:
                ids = ids[1:]
            ids = [first, *ids] if self.bos == "one" else ids
        return tuple(ids)

    def text(self, turns: Sequence[Mapping[str, Any]], *, asked: Prompt | None = None) -> str:
        """What the template writes, for formats that close it in another way."""
        return str(
            rendered(
                self.tokenizer,
                list(map(dict, turns)),
                template=self.template,
                tokenize=False,
                **_beside(asked),
            )
        )


@dataclass(frozen=True, slots=True)
class PairEncoding:
    """Prompt and answer as the two texts of an encoder: ``[CLS] prompt [SEP] answer [SEP]``."""

    tokenizer: Any
    template: str = ""
    markers: tuple[str, ...] = ()

    @property
    def identity(self) -> Mapping[str, str]:
        """The format has no settings."""
        return {"format": "text_pair"}

    def __call__(self, prompt: Prompt, *answers: str) -> Encoded:
        """The ids of the pair, and which text each belongs to."""
        both = self.tokenizer(prompt.text, *answers, truncation=False, padding=False, verbose=False)
        types = both.get("token_type_ids")
        return Encoded(tuple(both["input_ids"]), tuple(types) if types is not None else None)


@dataclass(frozen=True, slots=True)
class TextEncoding:
    """A text that the family writes itself, for models older than chat templates.

    Attributes:
        tokenizer: The reward model's own.
        write: Messages and answers -> the whole text.
        name: What the format is called.
        end: Whether an end-of-sequence token is appended if the text did not give one.
        template: The fixed pieces of the text.
        markers: Those of them that an answer must not be able to write.
    """

    tokenizer: Any
    write: Callable[..., str]
    name: str
    end: bool = True
    template: str = ""
    markers: tuple[str, ...] = ()

    @property
    def identity(self) -> Mapping[str, str]:
        """The format and whether it ends with an end token."""
        return {"format": self.name, "end": str(self.end)}

    def __call__(self, prompt: Prompt, *answers: str) -> Encoded:
        """The ids of the written text."""
        text = self.write(prompt.messages, *answers)
        ids = self.tokenizer(text, truncation=False, padding=False, verbose=False)["input_ids"]
        last = self.tokenizer.eos_token_id
        if self.end and last is not None and (not ids or ids[-1] != last):
            ids = [*ids, last]
        return Encoded(tuple(ids))


def conversation(prompt: Prompt, answers: Sequence[str]) -> list[dict[str, Any]]:
    """The turns of a prompt and its answer, as chat templates read them, with all that a turn holds."""
    turns: list[dict[str, Any]] = [dict(message) for message in prompt.messages]
    return [*turns, *({"role": "assistant", "content": answer} for answer in answers)]


def _beside(asked: Prompt | None) -> dict[str, list[dict[str, Any]]]:
    """What a template is given beside the turns."""
    given = {} if asked is None else {"tools": asked.tools, "documents": asked.documents}
    return {name: [dict(one) for one in values] for name, values in given.items() if values}


def freeze_dates(template: str) -> str:
    """The template with today's date replaced by a fixed one.

    Raises:
        ScorerError: If it reads the clock in a way that cannot be frozen.

    Example:
        >>> freeze_dates("Today: {{ strftime_now('%d %b %Y') }}")
        "Today: {{ '26 Jul 2024' }}"
    """
    frozen = frozen_dates(template)
    if "strftime_now(" in frozen:
        raise ScorerError(
            "the chat template reads the clock with a computed format, so the same answer would score "
            "differently "
            "on another day: pass `chat_template=` with a fixed date"
        )
    return frozen


def own_copy(tokenizer: Any) -> Any:
    """A tokenizer of our own: calling one changes settings inside it, and the user's must stay as it is."""
    return copy.deepcopy(tokenizer)


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def tokenizer_digest(tokenizer: Any) -> str:
    """Names a tokenizer's vocabulary, merges and rules, whatever padding it was last called with."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        text = repr(sorted(tokenizer.get_vocab().items()))
    else:
        backend.no_truncation()
        backend.no_padding()
        text = backend.to_str()
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def healed_prompt(prompt: Prompt) -> Prompt:
    """The prompt without half characters, which no tokenizer takes."""
    asked = (prompt.messages, prompt.tools, prompt.documents)
    messages, tools, documents = (tuple(healed(part)) for part in asked)
    if (messages, tools, documents) == asked:
        return prompt
    return replace(prompt, messages=messages, tools=tools, documents=documents)
