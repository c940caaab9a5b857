"""A curve in one line of text."""

from __future__ import annotations

import math
from collections.abc import Sequence

__all__ = ["sparkline"]

_BARS = "▁▂▃▄▅▆▇█"


def sparkline(values: Sequence[float], *, star: int | None = None, width: int = 60) -> str:
    """A curve in one line; the best is a star, a failed evaluation a cross.

    Example:
        >>> sparkline([0.1, 0.5, float("nan"), 0.9, 0.2], star=3)
        '▁▅×★▂'
    """
    known = [v for v in values if math.isfinite(v)]
    low, span = (min(known), (max(known) - min(known)) or 1.0) if known else (0.0, 1.0)
    marks = []
    size = max(1, math.ceil(len(values) / width))
    for start in range(0, len(values), size):
        group = [v for v in values[start : start + size] if math.isfinite(v)]
        if star is not None and start <= star < start + size:
            marks.append("★")
        elif not group:
            marks.append("×")
        else:
            level = (sum(group) / len(group) - low) / span
            marks.append(_BARS[min(int(level * len(_BARS)), len(_BARS) - 1)])
    return "".join(marks)
