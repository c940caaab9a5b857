"""Text that every tokenizer takes, and one date for every template that prints today's."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

__all__ = ["TODAY", "frozen_dates", "healed"]

# What a template that prints the date is given: else the same prompt would be another one tomorrow.
TODAY = datetime(2024, 7, 26)  # the date Llama 3.1's own template falls back on
_NOW = re.compile(r"strftime_now\(\s*(['\"])(?P<format>[^'\"]*)\1\s*\)")


def healed(value: Any) -> Any:
    r"""The value with half emoji and other lone surrogates replaced, inside lists and mappings, too.

    Example:
        >>> healed(["whole \U0001f600", "half \ud83d"])
        ['whole 😀', 'half �']
    """
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, dict):
        return {healed(name): healed(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [healed(inner) for inner in value]
    return value


def frozen_dates(template: str) -> str:
    """The chat template with today's date replaced by `TODAY`, wherever its format is written out.

    Example:
        >>> frozen_dates("Today: {{ strftime_now('%d %b %Y') }}")
        "Today: {{ '26 Jul 2024' }}"
    """
    return _NOW.sub(lambda m: repr(TODAY.strftime(m["format"])), template)
