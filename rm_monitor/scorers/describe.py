"""What was detected in a reward model, as a page a person can check."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rm_monitor.scorers.detect import ABOUT
from rm_monitor.scorers.text.formatting import Formatter
from rm_monitor.types import Prompt, Scale

__all__ = ["Description", "InputFormat", "describe_input", "unread"]

EXAMPLE = Prompt(id="example", messages=({"role": "user", "content": "What is two plus two?"},))
ANSWER = "Four."
# What templates are seen to refuse or leave out: each in a conversation that needs nothing else.
SHAPES: Mapping[str, Prompt] = {
    "system turns": Prompt(
        id="system",
        messages=(
            {"role": "system", "content": "Answer in one short word."},
            {"role": "user", "content": "What is two plus two?"},
        ),
    ),
    "earlier turns": Prompt(
        id="turns",
        messages=(
            {"role": "user", "content": "Name a prime number."},
            {"role": "assistant", "content": "Seven is one."},
            {"role": "user", "content": "What is two plus two?"},
        ),
    ),
}
SCALES: Mapping[str, str] = {
    "logit": "a difference of two rewards is the log-odds that the first is better",
    "rating": "differences rank answers",
    "unit": "between 0 and 1; differences rank answers",
    "unknown": "differences rank answers",
}
NO_PROBABILITY = "no probability without a `temperature=` (rm-monitor doctor --pairs fits one)"


@dataclass(frozen=True, slots=True, kw_only=True)
class InputFormat:
    """How conversations become ids.

    Attributes:
        format: ``chat``, ``text_pair`` or the family's own.
        template: What names the chat template; empty if there is none.
        bos: Beginning-of-sequence (of encoders: class) tokens at the start of an example.
        expected_bos: How many the tokenizer puts before plain text.
        eos: End-of-sequence (of encoders: separator) tokens in an example of one user and one answer turn.
        pad: The padding token and its id; it is never attended to.
        max_length: The most tokens it reads; None: no limit is known.
        tail: The last tokens of an example.
        closed: Whether the example ends with the end of the answer's turn, not in the middle or with a new
            one.
    """

    format: str
    template: str
    bos: int
    expected_bos: int
    eos: int
    pad: str
    max_length: int | None
    tail: tuple[str, ...]
    closed: bool

    def __str__(self) -> str:
        limit = "no limit known" if self.max_length is None else f"at most {self.max_length:,} tokens"
        template = f" (template {self.template})" if self.template else ""
        return f"{self.format}{template}, {self.bos} BOS, {self.eos} EOS, pad {self.pad}, {limit}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """What was detected; ``str()`` is the page.

    Attributes:
        name: What the user called it.
        kind: Its family.
        scale: What a difference of two rewards means.
        temperature: Divides it inside the sigmoid; None: 1 on a logit scale, no probability elsewhere.
        reward: The number that is the headline, and that higher is better.
        head: What decides that number: shape, where it is read, sign.
        network: Its class and size.
        model: What its numbers depend on: weights, dtype, attention.
        device: Where it runs.
        batches: How inputs share a forward.
        input: How conversations become ids.
        attributes: Further numbers it gives; each is a curve of its own.
        notes: What a person should know.
    """

    name: str
    kind: str
    scale: Scale
    temperature: float | None
    reward: str
    head: Mapping[str, str]
    network: str
    model: Mapping[str, str]
    device: str
    batches: str
    input: InputFormat
    attributes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """One fact a line."""
        facts = [
            ("reward model", self.name),
            ("kind", f"{self.kind}: {ABOUT.get(self.kind, 'a scorer of your own')}"),
            ("reward", f"{self.reward}; higher is better"),
            *([("attributes", f"{', '.join(self.attributes)}: a curve each")] if self.attributes else []),
            ("scale", f"{self.scale}: {SCALES[self.scale]}{self._probability()}"),
            ("head", ", ".join(f"{key} {value}" for key, value in self.head.items())),
            ("network", ", ".join([self.network, *self._numerics()])),
            ("weights", ", ".join(v for k, v in self.model.items() if k.endswith("weights"))),
            ("device", self.device),
            ("batches", self.batches),
            ("input", str(self.input)),
            ("ends with", " ".join(repr(token)[1:-1] for token in self.input.tail)),
            *(("note", note) for note in self.notes),
        ]
        return [f"{name:<13} {value}" for name, value in facts]

    def _numerics(self) -> list[str]:
        return [f"{key} {value}" for key, value in self.model.items() if not key.endswith(HASHES)]

    def _probability(self) -> str:
        if self.temperature is not None:
            return f"; divided by the temperature {self.temperature:g}"
        return "" if self.scale == "logit" else f"; {NO_PROBABILITY}"

    def __str__(self) -> str:
        return "\n".join(self.lines())


HASHES = ("weights", "config")


def describe_input(formatter: Formatter, *, answers: int = 1) -> InputFormat:
    """Render an example and look at it; a model that compares reads two answers."""
    tokenizer, identity = formatter.tokenizer, formatter.encoding.identity
    ids = formatter.render(EXAMPLE, *[ANSWER] * answers).ids
    first = _either(tokenizer.bos_token_id, tokenizer.cls_token_id)
    end = _either(tokenizer.eos_token_id, tokenizer.sep_token_id)
    return InputFormat(
        format=identity["format"],
        template=identity.get("template", ""),
        bos=leading(ids, first),
        expected_bos=leading(tokenizer("x")["input_ids"], first),
        eos=sum(i == end for i in ids),
        pad="none" if tokenizer.pad_token is None else f"{tokenizer.pad_token} ({tokenizer.pad_token_id})",
        max_length=formatter.max_length,
        tail=tuple(tokenizer.convert_ids_to_tokens(list(ids[-8:]))),
        closed=answers == 2 or _closed(tokenizer, formatter, ids),
    )


def unread(formatter: Formatter, *, answers: int = 1) -> list[str]:
    """What an input format refuses or leaves out of ordinary conversations, a sentence each."""
    found = []
    for name, prompt in SHAPES.items():
        if formatter.refuses(prompt, answers=answers):
            found.append(f"its template refuses {name}: prompts with any are left out, flagged `unrendered`")
        elif prompt.id in formatter.screen([prompt], answers=answers).incomplete:
            found.append(f"its template leaves out {name}: prompts with any are flagged `dropped`")
    return found


def leading(ids: Sequence[int], token: int | None) -> int:
    """How many ids at the start are this token.

    Example:
        >>> leading([1, 1, 5, 1], 1), leading([5], None)
        (2, 0)
    """
    count = 0
    while token is not None and count < len(ids) and ids[count] == token:
        count += 1
    return count


def _either(first: int | None, second: int | None) -> int | None:
    return second if first is None else first


def _closed(tokenizer: Any, formatter: Formatter, ids: Sequence[int]) -> bool:
    """Whether nothing but one control token and blanks follows the answer."""
    text = str(tokenizer.decode(list(ids), skip_special_tokens=False))
    after = text.rpartition(ANSWER.lower() if ANSWER.lower() in text else ANSWER)[2].strip()
    known = {tokenizer.convert_ids_to_tokens(i) for i in formatter.control.ids}
    return after in known
