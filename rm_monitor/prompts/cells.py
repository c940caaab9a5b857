"""What a cell holds: text is text, except a conversation or a list that was written down as text."""

from __future__ import annotations

import ast
import json
import re
from typing import Any

__all__ = ["opened"]

_BEGINS = re.compile(r"\s*\"?[\[{]")  # also JSON inside a JSON text
_ENDS = re.compile(r"[\]}]\"?\s*$")
_TURNS = re.compile(
    r"""\s*(?:array\()?\[\s*(?:list\(|array\()?\[?\s*\{\s*['"](?:role|from|content|value)['"]\s*:"""
)
_LONGEST_LITERAL = 2**20  # characters that Python's own parser is given


def opened(value: Any) -> Any:
    """A list or mapping that a cell holds as JSON (or as Python prints it), else the value as it is.

    Of a conversation that a column of structs holds turned (``{"role": [...], "content": [...]}``) its turns.

    Raises:
        ValueError: If a text begins as a conversation and is none that can be read.

    Example:
        >>> opened('[{"role": "user", "content": "Hi"}]'), opened("[see below]")
        ([{'role': 'user', 'content': 'Hi'}], '[see below]')
    """
    if isinstance(value, dict):
        return _turned(value)
    if not isinstance(value, str) or not _BEGINS.match(value[:64]) or not _ENDS.search(value[-64:]):
        return value
    for parse in (json.loads, _literal):
        try:
            found = parse(value)
        except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
            continue
        if isinstance(found, str) and len(found) < len(value):
            return opened(found) if isinstance(opened(found), (list, dict)) else value
        if isinstance(found, (list, dict)):
            return _turned(found) if isinstance(found, dict) else found
    if _TURNS.match(value):
        raise ValueError(
            f"holds a conversation as text that is neither JSON nor a Python literal: {value[:60]!r}... "
            "Write it with json.dumps, or save the table as Parquet or JSON lines"
        )
    return value


def _turned(value: dict[str, Any]) -> Any:
    """`datasets.Sequence` of a struct gives one list a field: back to one struct an element."""
    lists = [item for item in value.values() if isinstance(item, (list, tuple))]
    if not {"role", "from"} & value.keys() or len(lists) < len(value) or len({len(x) for x in lists}) != 1:
        return value
    return [dict(zip(value, row, strict=True)) for row in zip(*lists, strict=True)]


def _literal(text: str) -> Any:
    """Lists, dicts, texts and numbers as Python prints them; nothing is run."""
    return ast.literal_eval(text) if len(text) <= _LONGEST_LITERAL else None
