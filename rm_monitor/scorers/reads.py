"""Which options are read, by a family or a sort of source: one that is not is refused, not swallowed."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from difflib import get_close_matches
from typing import Any

__all__ = ["CHAT", "COMMON", "DEFAULTS", "ELSEWHERE", "LABELS", "PAIRWISE", "only", "refuse_unread"]

#: What every model in this process reads.
PAIRWISE = frozenset(
    {
        *("dtype", "device", "revision", "max_length", "on_overflow", "tokenizer", "name"),
        *("batch_tokens", "deterministic", "strip_think", "idle"),
    }
)
COMMON = PAIRWISE | {"scale", "temperature"}
#: How a conversation is written.
CHAT = frozenset({"chat_template", "input_format", "bos"})
#: Which of several numbers is the reward.
LABELS = frozenset({"index", "weights"})

#: What an option is where nobody has said anything.
DEFAULTS: Mapping[str, Any] = {
    **dict.fromkeys(("index", "weights", "dtype", "device", "revision", "max_length", "tokenizer", "name")),
    **dict.fromkeys(("scale", "temperature", "chat_template", "input_format", "reference", "principle")),
    **dict.fromkeys(("judge_prompt", "rubric", "unit_test", "max_tokens", "batch_tokens")),
    "on_overflow": "skip",
    "strip_think": True,
    "deterministic": False,
    "bos": "template",
    "pooling": "auto",
    "beta": 0.1,
    "length_normalised": False,
    "idle": "device",
}
#: Options of servers and functions.
ELSEWHERE = frozenset(
    {
        *("fingerprint", "codec", "model", "key_env", "limits", "plain_http", "batch_size"),
        *("concurrency", "clock", "logprobs", "extra"),
    }
)


def only(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that somebody gave: those that are not what they would be anyway.

    Example:
        >>> only({"name": None, "strip_think": False, "bos": "template", "batch_size": 8})
        {'strip_think': False, 'batch_size': 8}
    """
    return {name: value for name, value in options.items() if not _is_default(name, value)}


def refuse_unread(given: Iterable[str], reads: Collection[str], what: str) -> None:
    """Refuse options that would change nothing.

    Args:
        given: Names of the options that were given.
        reads: Names of those that are read.
        what: Who reads them, for people: "a function".

    Raises:
        TypeError: If there is no such option at all, with the one that was probably meant.
        ValueError: If there is, but not here.
    """
    for name in sorted(given):
        if name in reads:
            continue
        known = {*DEFAULTS, *ELSEWHERE, "kind", "show"}
        if name not in known:
            near = get_close_matches(name, sorted(known), n=1)
            hint = f": did you mean {near[0]!r}?" if near else f"; {what} reads {_listed(reads)}"
            raise TypeError(f"load_scorer() has no argument {name!r}{hint}")
        way = f"what is read is {_listed(reads)}" if reads else "set it where that is made"
        raise ValueError(f"`{name}` is not read for {what} and would change nothing: leave it out; {way}")


def _listed(names: Collection[str]) -> str:
    return ", ".join(sorted(names)) or "none"


def _is_default(name: str, value: Any) -> bool:
    if name not in DEFAULTS:
        return False
    default = DEFAULTS[name]
    return value is default or (type(value) is type(default) and bool(value == default))
