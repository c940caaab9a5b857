"""What was detected in a reward model, as a page a person can check."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rm_monitor.scorers.text.formatting import Formatter
from rm_monitor.types import Prompt, Scale

__all__ = ["Description", "InputFormat", "describe_input"]

EXAMPLE = Prompt(id="example", messages=({"role": "user", "content": "What is two plus two?"},))
ANSWER = "Four."


@dataclass(frozen=True, slots=True, kw_only=True)
class InputFormat:
    """How conversations become ids.

    Attributes:
        format: ``chat``, ``text_pair`` or the family's own.
        bos: Beginning-of-sequence tokens at the start of an example.
        expected_bos: How many the tokenizer puts before plain text.
        pad: The padding token; it is never attended to.
        max_length: The most tokens it reads; None: no limit is known.
        tail: The last tokens of an example.
        closed: Whether the example ends with the end of the answer's turn, not in the middle or with a new
            one.
    """

    format: str
    bos: int
    expected_bos: int
    pad: str
    max_length: int | None
    tail: tuple[str, ...]
    closed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """What was detected; ``str()`` is the page.

    Attributes:
        name: What the user called it.
        kind: Its family.
        scale: What a difference of two rewards means.
        head: What decides the number: shape, label, sign.
        model: Facts of the network: weights, dtype, attention.
        device: Where it runs.
        input: How conversations become ids.
        notes: What a person should know.
    """

    name: str
    kind: str
    scale: Scale
    head: str
    model: Mapping[str, str]
    device: str
    input: InputFormat
    notes: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """One fact a line."""
        shown = self.input
        limit = "no limit known" if shown.max_length is None else f"{shown.max_length} tokens"
        facts = [
            ("reward model", self.name),
            ("kind", self.kind),
            ("head", self.head),
            ("scale", self.scale),
            *self.model.items(),
            ("device", self.device),
            ("input", f"{shown.format}, {shown.bos} BOS, pad {shown.pad}, at most {limit}"),
            ("ends with", " ".join(repr(token)[1:-1] for token in shown.tail)),
            *(("note", note) for note in self.notes),
        ]
        return [f"{name:<13} {value}" for name, value in facts]

    def __str__(self) -> str:
        return "\n".join(self.lines())


def describe_input(formatter: Formatter, *, answers: int = 1) -> InputFormat:
    """Render an example and look at it; a model that compares reads two answers."""
    tokenizer = formatter.tokenizer
    ids = formatter.render(EXAMPLE, *[ANSWER] * answers).ids
    tail = tuple(tokenizer.convert_ids_to_tokens(list(ids[-8:])))
    return InputFormat(
        format=formatter.encoding.identity["format"],
        bos=leading(ids, tokenizer.bos_token_id),
        expected_bos=leading(tokenizer("x")["input_ids"], tokenizer.bos_token_id),
        pad=str(tokenizer.pad_token),
        max_length=formatter.max_length,
        tail=tail,
        closed=answers == 2 or _closed(tokenizer, formatter, ids),
    )


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


def _closed(tokenizer: Any, formatter: Formatter, ids: Sequence[int]) -> bool:
    """Whether nothing but one control token and blanks follows the answer."""
    text = str(tokenizer.decode(list(ids), skip_special_tokens=False))
    after = text.rpartition(ANSWER.lower() if ANSWER.lower() in text else ANSWER)[2].strip()
    known = {tokenizer.convert_ids_to_tokens(i) for i in formatter.control.ids}
    return after in known
