"""Which of two answers people prefer, in the ways that data sets say so."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from rm_monitor.prompts.asking import Fields, text_of
from rm_monitor.prompts.turns import are_turns, turns
from rm_monitor.types import Message

__all__ = ["Pairing"]

# (chosen, rejected), or None where people saw no difference
Pairing: TypeAlias = Callable[[Fields, Sequence[Message]], tuple[str, str] | None]


def columns(first: str = "chosen", second: str = "rejected") -> Pairing:
    """The first of two columns is preferred."""

    def pair(fields: Fields, asked: Sequence[Message]) -> tuple[str, str] | None:
        return _answer(fields[first], asked, first), _answer(fields[second], asked, second)

    return pair


def labelled(first: str, second: str, label: str) -> Pairing:
    """A label of 1 or 2 names the preferred one."""

    def pair(fields: Fields, asked: Sequence[Message]) -> tuple[str, str] | None:
        name = next(n for n in (label, "preference") if n in fields)
        return _ordered(fields, asked, first, second, 1 if int(fields[name]) == 1 else -1)

    return pair


def scored(first: str, second: str, score: str, other: str) -> Pairing:
    """The answer with the higher score is preferred."""

    def pair(fields: Fields, asked: Sequence[Message]) -> tuple[str, str] | None:
        return _ordered(fields, asked, first, second, float(fields[score]) - float(fields[other]))

    return pair


def votes(fields: Fields, asked: Sequence[Message]) -> tuple[str, str] | None:
    """PandaLM: two of three annotators must agree on a winner."""
    label, count = Counter(int(fields[f"annotator{i}"]) for i in (1, 2, 3)).most_common(1)[0]
    return _ordered(fields, asked, "response1", "response2", 0 if count < 2 else {1: 1, 2: -1}.get(label, 0))


def helpsteer3(fields: Fields, asked: Sequence[Message]) -> tuple[str, str] | None:
    """HelpSteer3: ``overall_preference`` below 0 prefers the first response."""
    return _ordered(fields, asked, "response1", "response2", -float(fields["overall_preference"]))


def verdict(first: str, second: str) -> Pairing:
    """JudgeBench's ``A>B``, the arena's ``model_a`` or its ``winner_model_a``."""

    def pair(fields: Fields, asked: Sequence[Message]) -> tuple[str, str] | None:
        if "winner_model_a" in fields:
            ahead = int(fields["winner_model_a"]) - int(fields["winner_model_b"])
        else:
            said = re.sub(
                r"[^ab>=<]",
                "",
                str(fields.get("winner", fields.get("label", ""))).lower().replace("model", ""),
            )
            ahead = {"a": 1, "a>b": 1, "a>>b": 1, "b<a": 1, "b": -1, "b>a": -1, "b>>a": -1, "a<b": -1}.get(
                said, 0
            )
        return _ordered(fields, asked, first, second, ahead)

    return pair


def best_and_worst(name: str, text: str, rank: str, *, low_is_best: bool = False) -> Pairing:
    """The best and the worst of a list of rated answers."""

    def pair(fields: Fields, asked: Sequence[Message]) -> tuple[str, str] | None:
        rated = [
            (float(x[rank]) * (-1 if low_is_best else 1), x[text])
            for x in fields[name]
            if x.get(rank) is not None
        ]
        if len({score for score, _ in rated}) < 2:
            return None
        rated.sort(key=lambda x: x[0])
        return _answer(rated[-1][1], asked, name), _answer(rated[0][1], asked, name)

    return pair


def _ordered(
    fields: Fields, asked: Sequence[Message], first: str, second: str, ahead: float
) -> tuple[str, str] | None:
    a, b = _answer(fields[first], asked, first), _answer(fields[second], asked, second)
    return None if ahead == 0 else (a, b) if ahead > 0 else (b, a)


def _answer(value: Any, asked: Sequence[Message], name: str) -> str:
    if isinstance(value, (int, float)):  # JSON's `false` is the answer "False"
        return str(value)
    if are_turns(value):
        found = turns(value)
        rest = found[len(asked) :] if len(found) > len(asked) else found
        if len(rest) > 1 and found[: len(asked)] == tuple(asked):
            raise ValueError(
                f"`{name}` goes on for {len(rest)} turns after what is asked: a pair is of two answers"
            )
    text = text_of(value, asked)
    if text is None:
        raise TypeError(f"`{name}` holds no answer: {value!r:.80}")
    return text
