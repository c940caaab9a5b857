"""Two answers to a prompt side by side in a terminal, with what changed between them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from rm_monitor.text.escape import visible

__all__ = ["Pair", "beside", "changed"]

LIKE = 0.3  # share of common words below which marking the others only makes noise
MOST = 1_200  # words of an answer that are compared
LONGEST = 2_000  # characters of a text that are shown


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A prompt and what two checkpoints answered.

    Attributes:
        label: The prompt's row and first words.
        prompt: All that is asked.
        answers: A's and B's; empty: an empty answer.
        values: What the judge says of each, in words.
    """

    label: str
    prompt: str
    answers: tuple[str, str]
    values: tuple[str, str]


def beside(pair: Pair, *, width: int = 100) -> str:
    """The pair as lines of at most so many columns: the prompt, then A beside B.

    Words of A that B lacks stand in ``[-...-]``, words of B that A lacks in ``{+...+}``, as git marks them;
    answers with hardly a word in common are not marked.

    Args:
        pair: What is shown.
        width: Columns, at least 40.
    """
    width = max(width, 40)
    half = (width - 3) // 2
    left, right = changed(*(_inert(text) for text in pair.answers))
    heads = [f"{name}: {value}" for name, value in zip("AB", pair.values, strict=True)]
    columns = [
        [*_wrapped(head, half), "", *_wrapped(text, half)]
        for head, text in zip(heads, (left, right), strict=True)
    ]
    asked = [f"  {line}" for line in _wrapped(_inert(pair.prompt), width - 2)]
    return "\n".join([visible(pair.label, keep=""), *asked, "", *_rows(half, *columns)])


def changed(a: str, b: str) -> tuple[str, str]:
    """Two texts with what only one of them holds marked, word by word.

    Example:
        >>> changed("one two three", "one too three")
        ('one [-two-] three', 'one {+too+} three')
        >>> changed("one two", "quite another text")
        ('one two', 'quite another text')
    """
    x, y = (re.findall(r"\S+|\s+", text)[:MOST] for text in (a, b))
    match = SequenceMatcher(None, x, y, autojunk=False)
    same = sum(2 for m in match.get_matching_blocks() for w in x[m.a : m.a + m.size] if w.strip())
    if a == b or same < LIKE * sum(bool(w.strip()) for w in (*x, *y)):
        return a or "(empty answer)", b or "(empty answer)"
    left, right = "", ""
    for kind, i, j, k, m in match.get_opcodes():
        old, new = "".join(x[i:j]), "".join(y[k:m])
        left += old if kind == "equal" else _marked(old, "[-", "-]")
        right += new if kind == "equal" else _marked(new, "{+", "+}")
    return left + a[len("".join(x)) :], right + b[len("".join(y)) :]


def _marked(text: str, start: str, end: str) -> str:
    """The text between marks; white space stays outside them."""
    inner = text.strip()
    if not inner:
        return text
    at = text.index(inner)
    return f"{text[:at]}{start}{inner}{end}{text[at + len(inner) :]}"


def _inert(text: str) -> str:
    shown = visible(text.expandtabs(4), keep="\n")
    return shown if len(shown) <= LONGEST else f"{shown[:LONGEST]} … ({len(shown) - LONGEST} more characters)"


def _rows(half: int, left: Sequence[str], right: Sequence[str]) -> Iterator[str]:
    for i in range(max(len(left), len(right))):
        a, b = (side[i] if i < len(side) else "" for side in (left, right))
        yield f"{a}{' ' * (half - _cells(a))} | {b}".rstrip()


def _wrapped(text: str, width: int) -> list[str]:
    """Lines of at most so many cells; a word that is longer is broken."""
    lines: list[str] = []
    for paragraph in text.split("\n"):
        line = ""
        for word in re.findall(r"\S+\s*|\s+", paragraph) or [""]:
            if line and _cells((line + word).rstrip()) > width:
                lines.append(line.rstrip())
                line = ""
            while _cells(word.rstrip()) > width:
                fits = _fitting(word, width)
                lines.append(word[:fits])
                word = word[fits:]
            line += word
        lines.append(line.rstrip())
    return lines


def _fitting(word: str, width: int) -> int:
    """How many characters of a word fill a line; at least one."""
    cells = 0
    for i, character in enumerate(word):
        cells += _cells(character)
        if cells > width:
            return max(i, 1)
    return len(word)


def _cells(text: str) -> int:
    """Columns that a terminal needs: two for a wide character, none for a combining one."""
    return sum(
        0
        if unicodedata.combining(c) or unicodedata.category(c) in ("Mn", "Me", "Cf")
        else 2
        if unicodedata.east_asian_width(c) in "WF"
        else 1
        for c in text
    )
