"""Numbers for a program to read: JSON has no nan, so unknown is null."""

from __future__ import annotations

import math
from typing import Any

from rm_monitor.types import Estimate

__all__ = ["finite", "plain"]


def finite(value: float) -> float | None:
    """A number, or None where it is unknown."""
    return float(value) if math.isfinite(value) else None


def plain(e: Estimate | None) -> dict[str, Any] | None:
    """An estimate.

    Example:
        >>> plain(Estimate(0.5, math.nan, math.nan, 1))
        {'value': 0.5, 'low': None, 'high': None, 'n': 1}
    """
    if e is None:
        return None
    return {"value": finite(e.value), "low": finite(e.low), "high": finite(e.high), "n": e.n}
