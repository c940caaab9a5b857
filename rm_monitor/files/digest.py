"""A short name of a value: equal values have equal names."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from rm_monitor.files.strict_json import plain

__all__ = ["digest"]


def digest(value: Any) -> str:
    """16 hexadecimal digits of SHA-256 of the value's JSON; the order of keys does not count.

    Example:
        >>> digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1}), len(digest([]))
        (True, 16)
    """
    # With blanks: prompts are named by this, and what is drawn for a prompt depends on its name.
    text = json.dumps(plain(value), ensure_ascii=True, allow_nan=False, sort_keys=True)
    return hashlib.sha256(text.encode("ascii")).hexdigest()[:16]
