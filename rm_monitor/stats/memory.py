"""The looks of a growing run, remembered."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.special import stdtrit

from rm_monitor.stats.choice import highest
from rm_monitor.stats.detector import Detector
from rm_monitor.stats.look import Look
from rm_monitor.stats.paired import Effects
from rm_monitor.types import FloatArray

__all__ = ["Looked", "Memory"]

Reaches = Callable[[int, int], bool]


class Looked(NamedTuple):
    """One evaluation, looked at.

    Attributes:
        alarm: Judged at the first level.
        warning: Judged at the second.
        is_best: It is above all before it.
        is_level: It is not measurably below the best so far: the paired 95 % interval of the change reaches
            0.
    """

    alarm: Look
    warning: Look
    is_best: bool
    is_level: bool = True


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

    def look(
        self, rows: Sequence[FloatArray], rules: dict[str, Any], reaches: Reaches | None = None
    ) -> tuple[Detector, list[Looked]]:
        """The detector that has seen these rows, and what it said after each.

        Args:
            rows: One ``(n,)`` row an evaluation.
            rules: Of the `Detector`.
            reaches: Asked of the best row and a later one: whether the change between them, in whatever else
                the rows are known by, reaches 0 as well.
        """
        if not self._continued_by(rows, rules):
            self._rules, self._rows, self._looks = rules, [], []
            self._detector = Detector(**rules)
        for row in rows[len(self._rows) :]:
            alarm, warning = self._detector.add(row)
            self._looks.append(Looked(alarm, warning, *self._against_best(reaches)))
            self._rows.append(row.copy())
        return self._detector, self._looks

    def _against_best(self, reaches: Reaches | None) -> tuple[bool, bool]:
        table, kept = self._detector.table, self._detector.compared
        if table is None or not np.isfinite(table.value[-1]):
            return False, True
        known, last = np.flatnonzero(np.isfinite(table.value)), len(table.value) - 1
        best = highest(table.value, known, None)  # the earliest of equals: the same again is no new best
        if best == last:
            return True, True
        level = _reaches(table, best, last)
        return False, level and (reaches is None or reaches(kept[best], kept[last]))

    def _continued_by(self, rows: Sequence[FloatArray], rules: dict[str, Any]) -> bool:
        return (
            _same(self._rules, rules)
            and len(self._rows) <= len(rows)
            and all(np.array_equal(a, b, equal_nan=True) for a, b in zip(self._rows, rows, strict=False))
        )


def _reaches(table: Effects, best: int, last: int) -> bool:
    """Whether the paired 95 % interval of the change between two rows reaches 0."""
    if table.units < 2:
        return True
    error = float(np.sqrt(((table.shares[last] - table.shares[best]) ** 2).sum()))
    change = float(table.value[last] - table.value[best])
    return change + float(stdtrit(table.units - 1, 0.975)) * error >= 0.0


def _same(a: dict[str, Any], b: dict[str, Any]) -> bool:
    return a.keys() == b.keys() and all(np.array_equal(a[k], b[k]) for k in a)
