"""JSON lines and JSON values, told apart by what they hold, not by the name of the file."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rm_monitor.prompts.characters import Bytes, lines, whole

__all__ = ["read"]

_LISTS = ("data", "rows", "samples", "examples", "instances", "prompts", "items", "records")


def read(file: Bytes, path: Path) -> Iterator[tuple[Any, str]]:
    """Rows of JSON lines, of a list, of a value that holds one list, or of columns as pandas writes them.

    Raises:
        ValueError: If it is not JSON: with line and column; or the value holds no rows.
    """
    numbered = lines(file, path)
    first = next(((n, line) for n, line in numbered if line.strip()), None)
    if first is None:
        raise ValueError(f"{path} is empty")
    second = next(((n, line) for n, line in numbered if line.strip()), None)
    if second is None and isinstance(value := _line(*first, path), list) and not _are_turns(value):
        yield from _rows(value, path)
        return
    if _is_value(first[1]):
        for number, line in itertools.chain([first, second] if second else [first], numbered):
            if line.strip():
                value = _line(number, line, path)
                if second is None and isinstance(value, Mapping) and _holds_rows(value):
                    yield from _rows(value, path)
                else:
                    yield value, f" line {number}"
        return
    file.seek(0)
    yield from _rows(_whole(whole(file, path), path), path)


def _line(number: int, line: str, path: Path) -> Any:
    try:
        return json.loads(line, object_pairs_hook=_object)
    except json.JSONDecodeError as problem:
        raise ValueError(
            f"{path} line {number} column {problem.colno} is not JSON: {problem.msg}{_instead(line)}"
        ) from problem
    except ValueError as problem:  # such as a number of thousands of digits, or a key that comes twice
        raise ValueError(f"{path} line {number} cannot be read: {problem}") from problem


def _whole(text: str, path: Path) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_object)
    except json.JSONDecodeError as problem:
        at = f"line {problem.lineno} column {problem.colno}"
        raise ValueError(f"{path} {at} is not JSON: {problem.msg}{_instead(text)}") from problem
    except ValueError as problem:
        raise ValueError(f"{path} cannot be read: {problem}") from problem


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object, of which no text is lost: a key that comes twice would hide the first."""
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(key for key in found if sum(key == name for name, _ in pairs) > 1)
        raise ValueError(f"the key {twice!r} comes twice in one object")
    return found


def _instead(text: str) -> str:
    """What a file is that is no JSON, where its beginning tells."""
    start = text.lstrip()[:200].lower()
    if start.startswith("version https://git-lfs"):
        return ". It is a pointer of Git LFS: fetch the file itself (`git lfs pull`)"
    if start.startswith(("<!doctype", "<html", "<?xml")):
        return ". It is a web page, perhaps what came instead of a download"
    return ""


def _is_value(line: str) -> bool:
    """Whether a line is a whole JSON value that can be a row: then the file is JSON lines."""
    line = line.strip().removesuffix(",")
    if line in ("[", "{") or line[:1] not in '[{"' or line[-1:] not in ']}"':
        return False
    try:
        return isinstance(json.loads(line), (dict, list, str))
    except ValueError:
        return False


def _are_turns(value: list[Any]) -> bool:
    """Whether a list is a conversation, which is one row, rather than a list of rows."""
    return bool(value) and all(isinstance(x, Mapping) and {"role", "content"} <= x.keys() for x in value)


def _holds_rows(value: Mapping[str, Any]) -> bool:
    return _is_table(value) or any(isinstance(value.get(name), list) for name in _LISTS) or _is_columns(value)


def _is_table(value: Mapping[str, Any]) -> bool:
    """``{"columns": [...], "data": [[...], ...]}``: a table of W&B, or pandas with ``orient="split"``."""
    names, data = value.get("columns"), value.get("data")
    return (
        isinstance(names, list)
        and isinstance(data, list)
        and all(isinstance(name, str) for name in names)
        and all(isinstance(row, list) and len(row) == len(names) for row in data)
    )


def _is_columns(value: Mapping[str, Any]) -> bool:
    """``{column: {"0": ...}}``, which ``DataFrame.to_json`` writes."""
    return bool(value) and all(
        isinstance(v, Mapping) and v and all(k.isdigit() for k in v) for v in value.values()
    )


def _rows(value: Any, path: Path) -> Iterator[tuple[Any, str]]:
    if isinstance(value, Mapping):
        if _is_table(value):
            value = {"data": [dict(zip(value["columns"], row, strict=True)) for row in value["data"]]}
        names = [name for name in _LISTS if isinstance(value.get(name), list)]
        if len(names) == 1:
            value = value[names[0]]
        elif _is_columns(value):
            places = dict.fromkeys(place for column in value.values() for place in column)
            value = [{name: column.get(place) for name, column in value.items()} for place in places]
    if not isinstance(value, list):
        keys = f" with the keys {sorted(value)[:8]}" if isinstance(value, Mapping) else ""
        raise ValueError(
            f"{path} must hold rows (JSON lines, or one list), got one {type(value).__name__}{keys}"
        )
    for number, row in enumerate(value, 1):
        yield row, f" row {number}"
