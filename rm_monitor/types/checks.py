"""Rules that numbers of a user must keep, said in one way: the argument, the rule, the value, the way out."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields
from difflib import get_close_matches
from typing import Any, TypeVar

__all__ = ["build", "did_you_mean", "number", "one_of", "whole"]

T = TypeVar("T")


def number(
    name: str,
    value: Any,
    rule: str,
    *,
    above: float = -math.inf,
    at_least: float = -math.inf,
    at_most: float = math.inf,
    below: float = math.inf,
) -> None:
    """Refuse what is no finite real number within bounds; text and truth values are none.

    Args:
        name: Of the argument.
        value: What the user gave.
        rule: What it is, in words that end the sentence "`name` is ...".
        above: It must be above this.
        at_least: It must be at least this.
        at_most: It must be at most this.
        below: It must be below this.

    Raises:
        ValueError: Naming the argument, the rule and the value.

    Example:
        >>> number("top_p", 0.9, "a probability in (0, 1]", above=0, at_most=1)
        >>> number("top_p", "0.9", "a probability in (0, 1]", above=0, at_most=1)
        Traceback (most recent call last):
        ...
        ValueError: `top_p` is a probability in (0, 1], got '0.9'
    """
    real = hasattr(value, "__float__") and not isinstance(value, (bool, str, complex))
    if real:
        x = float(value)
        if math.isfinite(x) and above < x < below and at_least <= x <= at_most:
            return
    raise ValueError(f"`{name}` is {rule}, got {_shown(value)}")


def whole(name: str, value: Any, rule: str, *, at_least: int) -> None:
    """Refuse what is no whole number from a bound on; 1.5, ``True`` and ``"200"`` are none.

    Raises:
        ValueError: Naming the argument, the rule and the value.

    Example:
        >>> whole("every", True, "a number of steps, at least 1", at_least=1)
        Traceback (most recent call last):
        ...
        ValueError: `every` is a number of steps, at least 1, got True
    """
    integral = hasattr(value, "__index__") and not isinstance(value, bool)
    if not integral or int(value) < at_least:
        raise ValueError(f"`{name}` is {rule}, got {_shown(value)}")


def one_of(name: str, value: Any, choices: tuple[Any, ...], rule: str) -> None:
    """Refuse what is not among the choices.

    Raises:
        ValueError: Naming the argument, the rule, the choices and the value.
    """
    if not any(value is choice or (type(value) is type(choice) and value == choice) for choice in choices):
        said = ", ".join(repr(choice) for choice in choices)
        raise ValueError(f"`{name}` is {rule}: one of {said}, got {_shown(value)}")


def build(cls: type[T], name: str, value: Any) -> T:
    """A group of settings from what a user gave for it: the object itself, or a mapping of its fields.

    Raises:
        ValueError: If it is neither, or the mapping has a key that is no field.

    Example:
        >>> from rm_monitor.types import Sampling
        >>> build(Sampling, "sampling", {"temperature": 0}).temperature
        0
        >>> build(Sampling, "sampling", {"max_tokens": 8})
        Traceback (most recent call last):
        ...
        ValueError: `sampling` has no setting 'max_tokens' (did you mean 'max_new_tokens'?); it has ...
    """
    if isinstance(value, cls):
        return value
    known = [field.name for field in fields(cls)]  # type: ignore[arg-type]
    if not isinstance(value, Mapping):
        raise ValueError(
            f"`{name}` is a {cls.__name__}(...) or a mapping of its settings ({', '.join(known)}), got "
            f"{_shown(value)}"
        )
    for key in value:
        if key not in known:
            raise ValueError(
                f"`{name}` has no setting {key!r}{did_you_mean(key, known)}; it has {', '.join(known)}"
            )
    return cls(**value)


def did_you_mean(given: Any, known: list[str]) -> str:
    """`` (did you mean 'every'?)``, if one of the names is near; else nothing."""
    near = get_close_matches(str(given), known, n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""


def _shown(value: Any) -> str:
    text = f"{value!r:.200}"
    return type(value).__name__ if "\n" in text else text  # a model, a GenerationConfig
