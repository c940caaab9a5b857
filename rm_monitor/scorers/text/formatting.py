"""Prompt and completion -> the ids a reward model reads, with everything that may go wrong counted.

One path for every family: reasoning stripped, control tokens neutralised and the result checked on the
ids, overflow noticed, and so is what the template leaves out. Both sides of a comparison go through it, so
they are treated alike.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, cast

from rm_monitor.errors import ScorerError
from rm_monitor.scorers.text.answers import ControlTokens, strip_think
from rm_monitor.scorers.text.coverage import ignored, left_out, shape
from rm_monitor.scorers.text.encodings import Encoded, Encoding, healed_prompt, tokenizer_digest
from rm_monitor.text.whole import healed
from rm_monitor.types import Message, Prompt, Screened

__all__ = ["FLAGS", "SELDOM", "Formatter", "OnOverflow", "Refused", "Rendered"]

log = logging.getLogger("rm_monitor")

OnOverflow = Literal["skip", "error", "truncate_prompt_middle"]
FLAGS = ("overflow", "special_text", "empty", "think")
SELDOM = ("dropped", "unrendered")  # shown only where there are some
_CUT = " [...] "


class Refused(ScorerError):
    """This prompt cannot be written for this model; others can."""


@dataclass(frozen=True, slots=True)
class Rendered:
    """One conversation as the reward model reads it.

    Attributes:
        encoded: The ids.
        flags: What was noticed, of `FLAGS` and `SELDOM`.
        usable: False if these ids must not be scored: too long, not to be written at all, or forged control
            tokens are left.
    """

    encoded: Encoded
    flags: frozenset[str]
    usable: bool = True

    @property
    def ids(self) -> tuple[int, ...]:
        """The ids alone."""
        return self.encoded.ids


@dataclass(frozen=True, slots=True)
class _Known:
    """What is known of a prompt whatever the answer, from rendering it with the answer "x".

    Attributes:
        size: How many tokens it is.
        fits: Whether the model reads so many.
        control: How many control tokens there are.
        dropped: The parts that its ids do not hold.
        refused: Why it cannot be written; empty if it can.
    """

    size: int = 0
    fits: bool = True
    control: int = 0
    dropped: tuple[str, ...] = ()
    refused: str = ""


class Formatter:
    """Renders conversations for one reward model.

    Args:
        encoding: Its input format.
        max_length: The most tokens it reads; None: no limit is known.
        on_overflow: A longer input is left unscored (``skip``), raises (``error``), or loses the middle of
            its prompt (``truncate_prompt_middle``); it is counted in every case.
        strip_think: Whether reasoning blocks are left out.
        vocabulary: Tokens the network has an embedding for; None: not known.

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
        vocabulary: int | None = None,
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
        self.vocabulary = vocabulary
        self._known: dict[tuple[bytes, int], _Known] = {}
        self._shapes: dict[tuple[Any, ...], tuple[str, ...]] = {}  # what a template makes no difference by

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

        A prompt that cannot be written for this model (its template refuses it, or writes tokens that the
        network does not have) is not usable and flagged ``unrendered``; one of which the model does not read
        everything is flagged ``dropped``.

        Raises:
            ScorerError: If the input is too long and ``on_overflow`` is ``error``.
        """
        flags: set[str] = set()
        answers = [self._answer(completion, flags) for completion in completions]
        prompt = healed_prompt(prompt)
        known = self._of(prompt, len(answers))
        if known.dropped:
            flags.add("dropped")
        try:
            encoded = self._encode(prompt, answers)
        except Refused:
            return Rendered(Encoded(()), frozenset(flags | {"unrendered"}), usable=False)
        if not self._as_many_control_tokens(known, encoded, answers):
            return Rendered(encoded, frozenset(flags | {"special_text"}), usable=False)
        if not encoded.ids:
            return Rendered(encoded, frozenset(flags), usable=False)
        if self._fits(encoded):
            return Rendered(encoded, frozenset(flags))
        flags.add("overflow")
        if self.on_overflow == "error":
            raise ScorerError(
                f"prompt {prompt.label} and its answer are {len(encoded.ids)} tokens, more than the "
                f"{self.max_length} "
                "this reward model reads: leave it out, or pass `on_overflow='skip'` or "
                "'truncate_prompt_middle'"
            )
        shorter = self._shorten(prompt, answers) if self.on_overflow == "truncate_prompt_middle" else None
        return Rendered(shorter or encoded, frozenset(flags), usable=shorter is not None)

    def refuses(self, prompt: Prompt, *, answers: int = 1) -> str:
        """Why this prompt cannot be written for the model; empty if it can."""
        return self._of(healed_prompt(prompt), answers).refused

    def screen(self, prompts: Sequence[Prompt], *, answers: int = 1) -> Screened:
        """What is wrong with prompts whatever the answer is, by their ids.

        Args:
            prompts: Any.
            answers: How many an input holds.
        """
        unscorable, incomplete = {}, {}
        for prompt in map(healed_prompt, prompts):
            known = self._of(prompt, answers)
            if known.refused:
                unscorable[prompt.id] = known.refused
            elif not known.fits and (
                self.on_overflow != "truncate_prompt_middle" or self._shorten(prompt, ["x"] * answers) is None
            ):
                size = known.size
                unscorable[prompt.id] = (
                    f"it is {size} tokens with an answer of one letter, and the model reads {self.max_length}"
                    if self.max_length is not None and size > self.max_length
                    else "a part of it is longer than this kind of model reads"
                )
            elif known.dropped:
                incomplete[prompt.id] = f"it does not read {' and '.join(known.dropped)}"
        return Screened(unscorable, incomplete)

    def _fits(self, encoded: Encoded) -> bool:
        return not encoded.too_long and (self.max_length is None or len(encoded.ids) <= self.max_length)

    def _answer(self, completion: str, flags: set[str]) -> str:
        """What of a completion is shown, with what was noticed added to the flags."""
        completion = str(healed(completion))
        answer = strip_think(completion) if self.strip_think else completion
        if answer != completion:
            flags.add("think")
        harmless = self.control.neutralise(answer)
        if harmless != answer:
            flags.add("special_text")
        if not harmless.strip():
            flags.add("empty")
        return harmless

    def _encode(self, prompt: Prompt, answers: Sequence[str]) -> Encoded:
        try:
            encoded = self.encoding(prompt, *answers)
        except ScorerError:
            raise
        except Exception as error:  # a template says no in its own words, through whatever jinja raises
            said = " ".join(str(error).split()) or type(error).__name__
            raise Refused(
                f"the reward model's input format refuses prompt {prompt.label} "
                f"(roles {[m['role'] for m in prompt.messages]}): {said}"
            ) from error
        largest = max(encoded.ids, default=0)
        if self.vocabulary is not None and largest >= self.vocabulary:
            raise Refused(
                f"prompt {prompt.label} has the token {largest} "
                f"({self.tokenizer.convert_ids_to_tokens(largest)!r}), and the network has embeddings for "
                f"{self.vocabulary} tokens only: its tokenizer was given tokens that the network was not"
            )
        return encoded

    def _of(self, prompt: Prompt, answers: int) -> _Known:
        """What is known of a prompt; found once."""
        text = json.dumps(prompt.question, sort_keys=True, default=str)
        key = hashlib.blake2b(text.encode(), digest_size=16).digest(), answers
        if key not in self._known:
            self._known[key] = self._look_at(prompt, answers)
        return self._known[key]

    def _look_at(self, prompt: Prompt, answers: int) -> _Known:
        def ids(asked: Prompt) -> tuple[int, ...]:
            return self._encode(asked, ["x"] * answers).ids

        try:
            plain = self._encode(prompt, ["x"] * answers)
            form = shape(prompt), answers
            if form not in self._shapes:
                self._shapes[form] = tuple(ignored(prompt, plain.ids, ids))
        except Refused as problem:
            return _Known(refused=str(problem))
        dropped = dict.fromkeys([*self._shapes[form], *left_out(prompt, plain.ids, self.tokenizer)])
        return _Known(
            size=len(plain.ids),
            fits=self._fits(plain),
            control=self.control.count(plain.ids),
            dropped=tuple(dropped),
        )

    def _as_many_control_tokens(self, known: _Known, encoded: Encoded, answers: Sequence[str]) -> bool:
        """The check that holds whatever the text does: as many control ids as with the answer "x".

        It sees what no search in the text can: an answer that ends in ``<|im_`` before a template that goes
        on.
        """
        found = self.control.count(encoded.ids)
        # A template may leave an empty turn out altogether.
        left = not all(answer.strip() for answer in answers) and found < known.control
        return found == known.control or left

    def _shorten(self, prompt: Prompt, answers: Sequence[str]) -> Encoded | None:
        """The ids with the middle of the prompt's longest turn cut out; None if that cannot be enough."""
        limit = self.max_length
        if limit is None or len(self._encode(prompt, answers).ids) <= limit:
            return None  # a part is too long, which no shorter prompt mends
        turns = [dict(m) for m in prompt.messages]
        longest = max(range(len(turns)), key=lambda i: len(prompt.messages[i]["content"]))
        pieces = self.tokenizer(turns[longest]["content"], add_special_tokens=False)["input_ids"]
        kept = len(pieces)
        encoded = self._encode(prompt, answers)
        while len(encoded.ids) > limit:
            kept -= len(encoded.ids) - limit
            if kept < 2:
                return None
            head, tail = pieces[: kept // 2], pieces[-(kept - kept // 2) :]
            turns[longest]["content"] = self._text(head) + _CUT + self._text(tail)
            shorter = replace(prompt, messages=tuple(cast("Message", turn) for turn in turns))
            encoded = self._encode(shorter, answers)
        return None if encoded.too_long else encoded

    def _text(self, ids: Sequence[int]) -> str:
        return str(self.tokenizer.decode(ids, skip_special_tokens=False))
