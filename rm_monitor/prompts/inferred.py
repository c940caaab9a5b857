"""What stands around the questions of training rows: the format they were written in, from the rows alone."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

__all__ = ["SOME", "Around", "around", "common_end", "common_start", "within"]

MOST = 0.9  # of the rows must share what is called the format's
SOME = 0.3  # where rows come in several variants, as Alpaca's with and without an input
_ROLE = r"[A-Z][A-Za-z]{0,15}(?: [A-Za-z]{1,12})?:"


class Around(NamedTuple):
    """What stands before a question and between it and its answer."""

    before: str
    between: str


def around(texts: Sequence[str], special: Sequence[str], contents: Sequence[str] = ()) -> Around:
    r"""The format of texts that end where an answer begins.

    What the questions themselves have in common does not belong to it, so it is cut where structure ends: at
    control tokens, line ends and the names of roles.

    Args:
        texts: Everything that stands before each answer.
        special: Names of control tokens.
        contents: Questions that are asked; what all of them begin or end with is not the format's either.

    Example:
        >>> around(["Q: What is a?\nA:", "Q: What is b, then?\nA:", "Q: What is it?\nA:"], [])
        Around(before='Q: ', between='\nA:')
    """
    marks = "|".join(map(re.escape, sorted(special, key=len, reverse=True))) or r"(?!)"
    before = _head(common_start(texts, MOST), marks)
    if not before:
        before = _head(common_start(texts, SOME), marks)
    mine = [text[len(before) :] for text in texts if text.startswith(before)]
    between = _tail(common_end(mine, MOST), marks)
    start, end = common_start(contents, 1.0), common_end(contents, 1.0)
    before = before[: len(before) - _overlap(before, start)]
    return Around(before, between[_overlap(end, between) :])


def within(texts: Sequence[str], special: Sequence[str], contents: Sequence[str] = ()) -> Around | None:
    r"""The format of whole texts, of which it is not known where the answer begins; None if none is seen.

    The answer begins after the last mark (a control token, a heading, the name of a role) that nearly all
    texts have and that more text follows.

    Example:
        >>> within(["Q: What is a?\nA: It is.", "Q: What is b, then?\nA: No.", "Q: Is it?\nA: Yes."], [])
        Around(before='Q: ', between='\nA:')
    """
    marks = "|".join(map(re.escape, sorted(special, key=len, reverse=True))) or r"(?!)"
    before = around(texts, special, contents).before
    rest = [text[len(before) :] for text in texts if text.startswith(before)]
    if not rest:
        return None
    found = None
    for mark in dict.fromkeys(re.findall(rf"{marks}|(?<=\n)#+ ?[^\n]+|(?<=\s){_ROLE}|\[/[A-Z_]+\]", rest[0])):
        having = [text for text in rest if text.partition(mark)[2].strip()]
        if len(having) >= MOST * len(rest):
            found = mark
    if found is None:
        return None
    sides = [text.partition(found) for text in rest if found in text]
    left = _tail(common_end([a for a, _, _ in sides], MOST) + found, marks)
    right = common_start([b for _, _, b in sides], MOST)
    return Around(before, left + right[: len(right) - len(right.lstrip("\n"))])


def common_start(texts: Sequence[str], share: float) -> str:
    """The longest text that so many of the texts begin with.

    Example:
        >>> common_start(["abc", "abd", "x"], 0.6)
        'ab'
    """
    ordered = sorted(texts)
    width = max(1, round(share * len(ordered)))
    starts = (_same(a, b) for a, b in zip(ordered, ordered[width - 1 :], strict=False))
    return max(starts, key=len, default="")


def common_end(texts: Sequence[str], share: float) -> str:
    """The longest text that so many of the texts end with."""
    return common_start([text[::-1] for text in texts], share)[::-1]


def _overlap(first: str, second: str) -> int:
    """Characters of the longest end of one text that the other begins with; a few are chance."""
    sizes = range(min(len(first), len(second)), 2, -1)
    return next((n for n in sizes if first.endswith(second[:n])), 0)


def _same(a: str, b: str) -> str:
    n = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    return a[:n]


def _head(text: str, marks: str) -> str:
    """A common beginning up to where its structure ends."""
    ends = [m.end() for m in re.finditer(rf"(?:{marks})[ ]?|\n|(?:^|(?<=\s)){_ROLE} ?|\[/?[A-Z_]+\] ?", text)]
    return text[: max(ends, default=0)]


def _tail(text: str, marks: str) -> str:
    """A common end from where its structure begins."""
    found = re.search(rf"\s*(?:{marks})|\s*\n|\s+{_ROLE}|\s*\[/?[A-Z_]+\]|\s*###", text)
    return text[found.start() :] if found else ""
