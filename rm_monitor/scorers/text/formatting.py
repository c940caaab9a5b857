"""Prompt and completion -> the ids a reward model reads, with everything that may go wrong counted.

One path for every family: reasoning stripped, control tokens neutralised and the result checked on the
ids, overflow noticed. Both sides of a comparison go through it, so they are treated alike.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from rm_monitor.errors import ScorerError
from rm_monitor.scorers.text.answers import ControlTokens, strip_think
from rm_monitor.scorers.text.encodings import Encoded, Encoding
from rm_monitor.types import Message, Prompt

__all__ = ["FLAGS", "Formatter", "OnOverflow", "Rendered"]

OnOverflow = Literal["skip", "error", "truncate_prompt_middle"]
FLAGS = ("overflow", "special_text", "empty", "think")
Turns = tuple[tuple[str, str], ...]
_CUT = " [...] "


@dataclass(frozen=True, slots=True)
class Rendered:
    """One conversation as the reward model reads it.

    Attributes:
        encoded: The ids.
        flags: What was noticed, of `FLAGS`.
        usable: False if these ids must not be scored: too long, or forged control tokens are left.
    """

    encoded: Encoded
    flags: frozenset[str]
    usable: bool = True

    @property
    def ids(self) -> tuple[int, ...]:
        """The ids alone."""
        return self.encoded.ids


class Formatter:
    """Renders conversations for one reward model.

    Args:
        encoding: Its input format.
        max_length: The most tokens it reads; None: no limit is known.
        on_overflow: A longer input is left unscored (``skip``), raises (``error``), or loses the middle of
            its prompt (``truncate_prompt_middle``); it is counted in every case.
        strip_think: Whether reasoning blocks are left out.

    Raises:
        ValueError: If ``on_overflow`` or ``max_length`` is not usable.
    """

    def __init__(
        self,
        encoding: Encoding,
        *,
        max_length: int | None = None,
        on_overflow: OnOverflow = "skip",
        strip_think: bool = True,
    ) -> None:
        if on_overflow not in ("skip", "error", "truncate_prompt_middle"):
            raise ValueError(
                f"`on_overflow` must be 'skip', 'error' or 'truncate_prompt_middle', got {on_overflow!r}"
            )
        if max_length is not None and max_length < 1:
            raise ValueError(f"`max_length` must be at least 1 token, got {max_length}")
        self.encoding = encoding
        self.max_length = max_length
        self.on_overflow: OnOverflow = on_overflow
        self.strip_think = strip_think
        self.control = ControlTokens(encoding.tokenizer, encoding.template, encoding.markers)
        self._expected: dict[tuple[Turns, int], int] = {}

    @property
    def tokenizer(self) -> Any:
        """The reward model's own tokenizer."""
        return self.encoding.tokenizer

    @property
    def identity(self) -> Mapping[str, str]:
        """What the ids depend on: tokenizer, template and treatment of the answer."""
        return {
            **self.encoding.identity,
            "tokenizer": tokenizer_digest(self.tokenizer),
            "max_length": str(self.max_length),
            "on_overflow": self.on_overflow,
            "strip_think": str(self.strip_think),
        }

    def render(self, prompt: Prompt, *completions: str) -> Rendered:
        """The ids of an answer to a prompt, or of two for a model that compares them.

        Raises:
            ScorerError: If the input is too long and ``on_overflow`` is ``error``, or the template refuses
                it.
        """
        flags: set[str] = set()
        answers = [self._answer(completion, flags) for completion in completions]
        encoded = self._encode(prompt, prompt.messages, answers)
        if not self._as_many_control_tokens(prompt, encoded, answers):
            return Rendered(encoded, frozenset(flags | {"special_text"}), usable=False)
        if not encoded.ids:
            return Rendered(encoded, frozenset(flags), usable=False)
        if self._fits(encoded):
            return Rendered(encoded, frozenset(flags))
        flags.add("overflow")
        if self.on_overflow == "error":
            raise ScorerError(
                f"prompt {prompt.id!r} and its answer are {len(encoded.ids)} tokens, more than the "
                f"{self.max_length} "
                "this reward model reads: leave it out, or pass `on_overflow='skip'` or "
                "'truncate_prompt_middle'"
            )
        shorter = self._shorten(prompt, answers) if self.on_overflow == "truncate_prompt_middle" else None
        return Rendered(shorter or encoded, frozenset(flags), usable=shorter is not None)

    def _fits(self, encoded: Encoded) -> bool:
        return not encoded.too_long and (self.max_length is None or len(encoded.ids) <= self.max_length)

    def _answer(self, completion: str, flags: set[str]) -> str:
        """What of a completion is shown, with what was noticed added to the flags."""
        # Lone surrogates (half an emoji, cut off) are text that no tokenizer takes.
        completion = completion.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        answer = strip_think(completion) if self.strip_think else completion
        if answer != completion:
            flags.add("think")
        harmless = self.control.neutralise(answer)
        if harmless != answer:
            flags.add("special_text")
        if not harmless.strip():
            flags.add("empty")
        return harmless

    def _encode(self, prompt: Prompt, messages: Sequence[Message], answers: Sequence[str]) -> Encoded:
        try:
            return self.encoding(messages, *answers)
        except ScorerError:
            raise
        except Exception as error:  # a template says no in its own words, through whatever jinja raises
            raise ScorerError(
                f"the reward model's input format refuses prompt {prompt.id!r} "
                f"(roles {[m['role'] for m in messages]}): {error}"
            ) from error

    def _as_many_control_tokens(self, prompt: Prompt, encoded: Encoded, answers: Sequence[str]) -> bool:
        """The check that holds whatever the text does: as many control ids as with the answer "x".

        It sees what no search in the text can: an answer that ends in ``<|im_`` before a template that goes
        on.
        """
        key = tuple((m["role"], m["content"]) for m in prompt.messages), len(answers)
        if key not in self._expected:
            plain = self._encode(prompt, prompt.messages, ["x"] * len(answers))
            self._expected[key] = self.control.count(plain.ids)
        found = self.control.count(encoded.ids)
        # A template may leave an empty turn out altogether.
        left_out = not all(answer.strip() for answer in answers) and found < self._expected[key]
        return found == self._expected[key] or left_out

    def _shorten(self, prompt: Prompt, answers: Sequence[str]) -> Encoded | None:
        """The ids with the middle of the prompt's longest turn cut out; None if that cannot be enough."""
        limit = self.max_length
        if limit is None or len(self._encode(prompt, prompt.messages, answers).ids) <= limit:
            return None  # a part is too long, which no shorter prompt mends
        turns: list[Message] = [{"role": m["role"], "content": m["content"]} for m in prompt.messages]
        longest = max(range(len(turns)), key=lambda i: len(turns[i]["content"]))
        pieces = self.tokenizer(turns[longest]["content"], add_special_tokens=False)["input_ids"]
        kept = len(pieces)
        encoded = self._encode(prompt, turns, answers)
        while len(encoded.ids) > limit:
            kept -= len(encoded.ids) - limit
            if kept < 2:
                return None
            head, tail = pieces[: kept // 2], pieces[-(kept - kept // 2) :]
            turns[longest]["content"] = self._text(head) + _CUT + self._text(tail)
            encoded = self._encode(prompt, turns, answers)
        return None if encoded.too_long else encoded

    def _text(self, ids: Sequence[int]) -> str:
        return str(self.tokenizer.decode(ids, skip_special_tokens=False))


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
