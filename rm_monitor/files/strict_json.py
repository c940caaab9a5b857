"""The one way we write JSON: unknown is null.

JSON has no nan and no infinity; Python writes them all the same, and other languages refuse the whole file.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

__all__ = ["dumps", "loads", "number", "plain", "read_object"]


log = logging.getLogger("rm_monitor")


def dumps(value: Any, *, indent: int | None = None, sort: bool = False) -> str:
    """A value as JSON that any parser reads: ASCII, one line unless indented, nan and infinities as null.

    Args:
        value: Mappings, sequences, arrays, numbers of Python or numpy, text, paths, dates, booleans and None.
        indent: Blanks a level; None: as short as can be.
        sort: Keys in order, so that equal values are equal texts.

    Raises:
        TypeError: If something else is in it.

    Example:
        >>> dumps({"value": float("nan"), "n": np.int64(3), "low": np.array([0.5, np.inf])})
        '{"value":null,"n":3,"low":[0.5,null]}'
    """
    separators = (",", ":") if indent is None else (",", ": ")
    return json.dumps(
        plain(value), ensure_ascii=True, allow_nan=False, indent=indent, sort_keys=sort, separators=separators
    )


def loads(text: str | bytes) -> Any:
    """A value from JSON.

    Raises:
        ValueError: If it is none, or holds ``NaN`` or ``Infinity``, which JSON does not have.
    """
    return json.loads(text, parse_constant=_refuse)


def read_object(path: str | Path) -> dict[str, Any]:
    """The object in a file of ours; empty where there is no file or it does not hold one.

    A disk that does not let us look is said: what a file holds is unknown then, not nothing.
    """
    try:
        found = loads(Path(path).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, ValueError, RecursionError):
        return {}
    except OSError as problem:
        log.warning("rm_monitor: %s cannot be read now: %s", path, problem)
        return {}
    return found if isinstance(found, dict) else {}


def number(value: Any) -> float:
    """A number as it was before it was written: null is nan.

    Raises:
        TypeError: If it is no number.
        ValueError: If it is a text that is none.
    """
    return math.nan if value is None else float(value)


def plain(value: Any) -> Any:
    """The same value of dicts, lists, text, finite numbers, booleans and None."""
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return str(value) if isinstance(value, (Path, date)) else value


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON: unknown numbers are null")
