"""The looks of a growing run, remembered."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from rm_monitor.stats.detector import Detector
from rm_monitor.stats.look import Look
from rm_monitor.types import FloatArray

__all__ = ["Looked", "Memory"]


class Looked(NamedTuple):
    """One evaluation, looked at.

    Attributes:
        alarm: Judged at the first level.
        warning: Judged at the second.
        is_best: It is the best so far.
    """

    alarm: Look
    warning: Look
    is_best: bool


class Memory:
    """Looks already taken at a curve, so that judging one more point costs one look.

    It never changes an answer: it starts anew whenever the curve is not a continuation of what is
    remembered.
    """

    def __init__(self) -> None:
        self._rules: dict[str, Any] = {}
        self._rows: list[FloatArray] = []
        self._detector = Detector()
        self._looks: list[Looked] = []

    def look(self, rows: Sequence[FloatArray], rules: dict[str, Any]) -> tuple[Detector, list[Looked]]:
        """The detector that has seen these rows, and what it said after each."""
        if not self._continued_by(rows, rules):
            self._rules, self._rows, self._looks = rules, [], []
            self._detector = Detector(**rules)
        for row in rows[len(self._rows) :]:
            alarm, warning = self._detector.add(row)
            table = self._detector.table
            is_best = table is not None and bool(table.value[-1] >= np.nanmax(table.value))
            self._looks.append(Looked(alarm, warning, is_best))
            self._rows.append(row.copy())
        return self._detector, self._looks

    def _continued_by(self, rows: Sequence[FloatArray], rules: dict[str, Any]) -> bool:
        return (
            _same(self._rules, rules)
            and len(self._rows) <= len(rows)
            and all(np.array_equal(a, b, equal_nan=True) for a, b in zip(self._rows, rows, strict=False))
        )


def _same(a: dict[str, Any], b: dict[str, Any]) -> bool:
    return a.keys() == b.keys() and all(np.array_equal(a[k], b[k]) for k in a)
