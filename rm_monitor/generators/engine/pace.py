"""How far the answering is, told evenly: rows end together, so that counting those that are done jumps."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rm_monitor.generators.engine.rows import Table
from rm_monitor.types import Progress

__all__ = ["Pace"]

STEPS = 8  # between two looks: a bar is for people
LEFT = 0.05  # of a row that has outlived what was expected of it


class Pace:
    """Tells how much of the work is done, in rows.

    A row that is not done counts as the share it has said of what is expected: as many tokens as its answer
    had at the last evaluation, else as the rows that are done had, else the longest answer.

    Args:
        table: Rows.
        progress: Whom it tells.
    """

    def __init__(self, table: Table, progress: Progress) -> None:
        self._table, self._progress = table, progress
        self._expected = np.array([job.expected for job in table.jobs], dtype=np.float64)
        self._looks, self._told = 0, 0

    def tell(self, done: int, flying: Sequence[int]) -> None:
        """Tell, if something is to be told.

        Args:
            done: Rows that are done.
            flying: Rows that have begun and are not.
        """
        self._looks += 1
        total = len(self._table.jobs)
        if self._looks % STEPS and done < total:
            return
        far = done + (self._shares(done, flying) if len(flying) else 0.0)
        if int(far) > self._told:
            self._told = int(far)
            self._progress(self._told, total)

    def _shares(self, done: int, flying: Sequence[int]) -> float:
        rows, count = np.asarray(flying), self._table.count
        said = count[rows]
        usual = float(self._table.longest)
        if done:  # rows that are done are all that have said something and are not in flight
            usual = (float(count.sum()) - float(said.sum())) / done
        expected = self._expected[rows]
        expected = np.where(np.isnan(expected), np.maximum(usual, 1.0), np.maximum(expected, 1.0))
        return float(np.minimum(said / expected, 1.0 - LEFT).sum())
