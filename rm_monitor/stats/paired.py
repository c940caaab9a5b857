"""Rows of a ``(t, n)`` table compared on the same prompts, also where some cells are missing.

A table is taken apart as row effect + prompt effect + residual. Any contrast of rows is then linear in the
residuals, so one table of residuals serves every contrast, every look and every resample. Without
missing cells this is exactly the paired comparison.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rm_monitor.types import FloatArray

__all__ = ["Effects", "effects", "groups"]

_ROUNDS, _SETTLED = 200, 1e-13


@dataclass(frozen=True, slots=True)
class Effects:
    """What each row adds, and the influence of each unit on it.

    Attributes:
        value: ``(t,)`` row effects: the row means when nothing is missing.
        influence: ``(t, g)``, one column a unit (a prompt, or a cluster of prompts), such that
            ``value[s]`` moves by ``influence[s, u] / n`` with unit ``u``; columns not in the table are zero.
        n: Prompts that the table holds.
        units: Independent units that the table holds.
        counts: ``(t,)`` prompts known in each row.
        sizes: ``(g,)`` prompts of each unit that the table holds.
    """

    value: FloatArray
    influence: FloatArray
    n: int
    units: int
    counts: NDArray[np.int64]
    sizes: NDArray[np.int64]

    @property
    def shares(self) -> FloatArray:
        """``(t, g)`` influences on the values themselves, scaled so that their squares sum to variances."""
        if self.units < 2:
            return np.full(self.influence.shape, np.nan)
        found: FloatArray = self.influence * (np.sqrt(self.units / (self.units - 1.0)) / self.n)
        return found


def groups(clusters: NDArray[Any] | None, n: int) -> NDArray[np.int64] | None:
    """Cluster labels as numbers 0..g-1 in order of first appearance; None when each prompt stands alone.

    Raises:
        ValueError: If there is not one label a prompt.
    """
    if clusters is None:
        return None
    labels = np.asarray(clusters)
    if labels.shape != (n,):
        raise ValueError(f"`clusters` has one label a prompt, shape ({n},); got shape {labels.shape}")
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[inverse].astype(np.int64)


def effects(table: FloatArray, group: NDArray[np.int64] | None = None) -> Effects:
    """Take a ``(t, n)`` table apart by least squares.

    Args:
        table: nan where unknown; a column with no known cell is left out.
        group: ``(n,)`` unit of each column, from `groups`; None: each column is its own.

    Example:
        >>> effects(np.array([[1.0, 2.0], [3.0, np.nan]])).value  # 2 above on the prompt they share
        array([1.5, 3.5])
    """
    known = np.isfinite(table)
    cells = np.where(known, table, 0.0)
    here = known.sum(axis=0)
    n = int((here > 0).sum())
    counts = known.sum(axis=1)
    if n == 0:
        zero = np.zeros(table.shape)
        none = np.zeros(table.shape[1], dtype=np.int64)
        return Effects(np.full(len(table), np.nan), zero, 0, 0, counts, none)
    if known[:, here > 0].all():
        value = cells.sum(axis=1) / n
        column = cells.sum(axis=0) / np.maximum(here, 1) - value.mean()
    else:
        value, column = _two_way(cells, known, here, counts)
    residual = np.where(known, cells - value[:, None] - column, 0.0)
    influence = residual * (n / np.maximum(counts, 1))[:, None]
    value = np.where(counts > 0, value, np.nan)
    present = (here > 0).astype(np.int64)
    if group is None:
        return Effects(value, influence, n, n, counts, present)
    summed = np.zeros((len(table), int(group.max()) + 1))
    np.add.at(summed.T, group, influence.T)
    sizes = np.bincount(group, weights=present, minlength=summed.shape[1]).astype(np.int64)
    return Effects(value, summed, n, int((sizes > 0).sum()), counts, sizes)


def _two_way(
    cells: FloatArray, known: NDArray[np.bool_], here: NDArray[np.int64], counts: NDArray[np.int64]
) -> tuple[FloatArray, FloatArray]:
    """Least-squares row and column effects; the columns' average over prompts is put into the rows.

    Rows and columns are fitted in turn: with a share ``m`` of cells missing each round leaves about ``m`` of
    the error, so that a run of two thousand evaluations costs no system of two thousand equations.
    """
    seen, asked = np.maximum(counts, 1), np.maximum(here, 1)
    rows, columns = cells.sum(axis=1), cells.sum(axis=0)
    weight = known.astype(np.float64)
    value = rows / seen
    for _ in range(_ROUNDS):
        column = (columns - value @ weight) / asked
        better = (rows - weight @ column) / seen
        moved = float(np.abs(better - value).max(initial=0.0))
        value = better
        if moved <= _SETTLED * (1.0 + float(np.abs(value).max(initial=0.0))):
            break
    column = (columns - value @ weight) / asked
    centre = column[here > 0].mean()
    return value + centre, np.where(here > 0, column - centre, 0.0)
