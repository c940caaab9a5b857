"""Estimates for a program to read, by the names of their fields."""

from __future__ import annotations

from typing import Any

from rm_monitor.files import strict_json
from rm_monitor.types import Estimate

__all__ = ["plain"]


def plain(e: Estimate | None) -> dict[str, Any] | None:
    """An estimate; unknown ends are null.

    Example:
        >>> plain(Estimate(0.5, float("nan"), float("nan"), 1))
        {'value': 0.5, 'low': None, 'high': None, 'n': 1}
    """
    return None if e is None else strict_json.plain(e._asdict())
