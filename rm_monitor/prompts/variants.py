r"""Formats that keep the columns of a prompt apart, one string for each kind of row: found from the rows.

Alpaca's rows with an input have a heading that rows without one lack, and often another first sentence. Rows
are grouped by their headings; what a group has in common is its format string, and what stands below a
heading of a column's name is that column.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence

from rm_monitor.prompts.inferred import MOST, common_start
from rm_monitor.prompts.templates import PARTS

__all__ = ["fits", "variants"]

_HEADING = re.compile(
    r"(?m)^(?:#+ ?[A-Z][^\n:]{0,40}:?|[A-Z][A-Za-z]{0,15}(?: [A-Za-z]{1,12})?:)(?=[ \n]|$)[ ]*\n?"
)
_FEWEST = 3  # rows of a kind
_SHARE = 0.05  # of the rows with a heading, for it to be the format's and not a question's


def variants(texts: Sequence[str], *, known: bool = True, columns: Collection[str] = ()) -> tuple[str, ...]:
    r"""Format strings with the names of columns, most columns first; empty if none keep them apart.

    Args:
        texts: What stands before each answer, or whole texts.
        known: Whether it is known where the answer begins; whole texts end with theirs.
        columns: Names that prompts have: what stands below such a heading is that column, even if all rows
            have the same there (one instruction, many inputs).

    Example:
        >>> rows = [f"I:\n{x}\n\nInput:\n{x}{x}\n\nR:\n".replace("I:", "Instruction:") for x in "abcd"]
        >>> variants([*rows, *(f"Instruction:\n{x}\n\nR:\n" for x in "efgh")])
        ('Instruction:\n{instruction}\n\nInput:\n{input}\n\nR:\n', 'Instruction:\n{instruction}\n\nR:\n')
    """
    count = Counter(name for text in texts for name in {m[0] for m in _HEADING.finditer(text)})
    enough = max(_FEWEST, _SHARE * len(texts))
    names = {name for name, n in count.items() if n >= enough}
    groups: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for text in texts:
        groups[tuple(m[0] for m in _HEADING.finditer(text) if m[0] in names)].append(text)
    found = {
        template: len(group)
        for headings, group in groups.items()
        if len(group) >= enough and (template := _template(headings, group, known, columns))
    }
    if not any(_columns(template) > 1 for template in found):
        return ()
    return tuple(sorted(found, key=lambda t: (-_columns(t), -found[t])))


def fits(templates: Sequence[str], text: str, *, known: bool = True) -> bool:
    """Whether a text could be one of the format strings, filled; a whole text may go on with its answer."""
    patterns = (re.sub(r"\\\{\w+\\\}", "(.+)", re.escape(template)) for template in templates)
    match = re.fullmatch if known else re.match
    return any(match(pattern, text, re.DOTALL) for pattern in patterns)


def _template(headings: Sequence[str], group: Sequence[str], known: bool, columns: Collection[str]) -> str:
    """The format string of texts with these headings; empty if there is none."""
    if len(headings) < 2:
        return ""
    pattern = r"(.*?)".join(map(re.escape, headings))
    split = [m.groups() for text in group if (m := re.fullmatch(f"(.*?){pattern}(.*)", text, re.DOTALL))]
    if len(split) < MOST * len(group):
        return ""
    *between, last = zip(*split, strict=True)
    before, *fields = between
    start = common_start(before, MOST)
    if sum(text == start for text in before) < MOST * len(before):
        return ""  # what stands before the first heading is not the format's
    parts = [start]
    for heading, texts in zip(headings, fields, strict=False):
        text, times = Counter(texts).most_common(1)[0]
        name = _column(heading)
        if times >= MOST * len(texts) and name not in columns:
            parts += [heading, text]  # a heading of its own, or a sentence that all rows have
            continue
        end = Counter(t[len(t.rstrip("\n")) :] for t in texts).most_common(1)[0][0]
        if not name or f"{{{name}}}" in parts:
            return ""
        parts += [heading, f"{{{name}}}", end]
    if known and Counter(last).most_common(1)[0][1] < MOST * len(last):
        return ""  # something that is no answer stands below the last heading
    end = headings[-1] + Counter(last).most_common(1)[0][0] if known else headings[-1].rstrip(" ")
    return "".join([*parts, end])


def _column(heading: str) -> str:
    words = re.findall(r"[a-z]+", heading.lower())
    return next((name for name in PARTS if name in words or f"{name}s" in words), "")


def _columns(template: str) -> int:
    return sum(f"{{{name}}}" in template for name in PARTS)
