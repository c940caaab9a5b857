"""Healthy runs made from this run's own residuals: how large a fall chance shows at a look.

Each replicate gives every prompt a random sign, the same at every evaluation, and every evaluation a jitter
of its own, the same at every look: so all looks of a run have one joint law. One set of replicates serves
all sizes of jitter.

A contrast is studentised by ``sqrt(s^2 + a^2 c)``, where ``s`` is its sampling error, ``c`` the sum of its
squared weights and ``a`` a fixed allowance of 3 points. The allowance is no estimate and protects nothing by
itself: it says how much a narrow window is trusted beside a wide one. At the same rate of false alarms it
sees more slow falls (10 points at 128 prompts: .91 against .87), for a third of an evaluation of delay on
steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from rm_monitor.stats.look import MIN_UNITS
from rm_monitor.stats.multiplier import resampled, signs
from rm_monitor.stats.paired import Effects
from rm_monitor.stats.windows import BLOCK, Family, differences, reduced
from rm_monitor.types import FloatArray

__all__ = ["ALLOWANCE", "EQUAL", "Falls", "ahead", "falls", "largest"]

ALLOWANCE = 0.03
EQUAL = 1e-9  # a standard error below this is rounding: all prompts fell alike
_NOISE = 1e-9  # differences of scores in [0, 1] below this are rounding
_PAGE = 40  # rows of jitter drawn at a time; a multiple of a block
_TOGETHER = 512  # replicates that are made at a time, so that what is worked on stays in the cache


@dataclass(frozen=True, slots=True)
class Falls:
    """How far the present windows lie below the earlier ones.

    Attributes:
        of: The windows.
        drop: ``(k,)`` more than 0 where later is worse.
        last: ``(k,)`` how far the last evaluation alone lies below the earlier window.
        sampling: ``(k,)`` variance of its sampling of prompts.
        error: ``(k,)`` what it is divided by.
        usable: ``(k,)`` whether enough independent units differ between the two windows to say anything.
    """

    of: Family
    drop: FloatArray
    last: FloatArray
    sampling: FloatArray
    error: FloatArray
    usable: NDArray[np.bool_]


def falls(table: Effects, of: Family) -> Falls:
    """The falls of a run's last evaluations."""
    drop = differences(*reduced(table.value, of), of)
    influence = differences(*reduced(table.influence, of), of)
    units = max(table.units, 2)
    squares = np.einsum("ku,ku->k", influence, influence)
    sampling = squares * (units / (units - 1.0)) / max(table.n, 1) ** 2
    error = np.sqrt(sampling + ALLOWANCE**2 * of.spread)
    present = np.array([table.value[-w:].mean() for w in range(1, int(of.width.max()) + 1)])[of.width - 1]
    usable = _differ(influence, drop, table.sizes) & (table.units >= MIN_UNITS)
    return Falls(of, drop, drop + present - table.value[-1], sampling, error, usable)


def _differ(influence: FloatArray, drop: FloatArray, sizes: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether at least ten units differ; mostly the first few dozen tell."""
    found = np.zeros(len(drop), dtype=np.bool_)
    for some in (slice(0, 8 * MIN_UNITS), slice(None)):
        left = np.flatnonzero(~found)
        apart = np.abs(influence[left, some] + drop[left, None] * sizes[some]) > _NOISE
        found[left] = apart.sum(axis=1) >= MIN_UNITS
        if found.all():
            break
    return found


def largest(
    table: Effects, seen: Falls, sizes: FloatArray, *, seed: int, replicates: int
) -> NDArray[np.float32]:
    """``(sizes, replicates)`` largest studentised fall of healthy runs with jitter of each size.

    Args:
        table: The run.
        seen: Its falls.
        sizes: Standard deviations of the jitter.
        seed: Of signs and jitter.
        replicates: How many healthy runs.
    """
    of, units = seen.of, table.units
    sign = signs(seed, table.influence.shape[1], replicates)
    recent, blocks = (resampled(x, sign) for x in reduced(table.influence / max(table.n, 1), of))
    wobble = _wobble(of, seed, replicates) if (sizes > 0).any() else None
    rows = slice(None) if seen.usable.all() else np.flatnonzero(seen.usable)
    sampling, spread = (x[rows, None].astype(np.float32) for x in (seen.sampling, ALLOWANCE**2 * of.spread))
    found = np.empty((len(sizes), replicates), dtype=np.float32)
    for first in range(0, replicates, _TOGETHER):
        part = slice(first, first + _TOGETHER)
        chance = differences(recent[:, part], blocks[:, part], of)[rows]
        # each replicate by its own sampling error: signs keep the sum of squares, so only the mean moves it
        scale = np.square(chance)
        scale /= np.float32(1.0 - units)
        scale += sampling
        np.maximum(scale, 0.0, out=scale)
        scale += spread
        np.sqrt(scale, out=scale)
        chance /= scale
        room = np.empty_like(chance)
        here = None if wobble is None else np.divide(wobble[rows, part], scale, out=scale)
        for i, size in enumerate(sizes):
            if size > 0 and here is not None:
                np.multiply(here, np.float32(size), out=room)
                room += chance
                room.max(axis=0, out=found[i, part])
            else:
                chance.max(axis=0, out=found[i, part])
    return found


def ahead(
    table: Effects, of: Family, sizes: FloatArray, *, seed: int, replicates: int
) -> NDArray[np.float32]:
    """``(sizes, replicates)`` jitter of each healthy run's best recent evaluation minus that of its last."""
    recent = reduced(table.influence / max(table.n, 1), of)[0]
    path = resampled(recent, signs(seed, table.influence.shape[1], replicates))
    wobble = _jitter(of, seed, replicates)[0]
    found = np.zeros((len(sizes), replicates), dtype=np.float32)
    for i, size in enumerate(sizes):
        if size > 0:
            best = (path[:-1] + np.float32(size) * wobble[:-1]).argmax(axis=0)
            found[i] = np.float32(size) * (wobble[best, np.arange(replicates)] - wobble[-1])
    return found


def _jitter(of: Family, seed: int, replicates: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """``(t - start, replicates)`` jitter of the recent rows and ``(blocks, replicates)`` of those before."""
    first, last = of.start // _PAGE, (of.t - 1) // _PAGE
    recent = np.concatenate([_page(seed, replicates, p) for p in range(first, last + 1)])
    recent = recent[of.start - first * _PAGE : of.t - first * _PAGE]
    if not of.blocks:
        return recent, recent[:0]
    pages = -(-of.start // _PAGE)
    return recent, np.concatenate([_blocks(seed, replicates, p) for p in range(pages)])[: of.blocks]


@lru_cache(maxsize=2)
def _wobble(of: Family, seed: int, replicates: int) -> NDArray[np.float32]:
    """``(k, replicates)`` what jitter alone adds to each fall."""
    found: NDArray[np.float32] = differences(*_jitter(of, seed, replicates), of)
    found.setflags(write=False)
    return found


@lru_cache(maxsize=8)
def _page(seed: int, replicates: int, page: int) -> NDArray[np.float32]:
    drawn = np.random.default_rng([seed, 1, page]).standard_normal((_PAGE, replicates), dtype=np.float32)
    drawn.setflags(write=False)
    return drawn


@lru_cache(maxsize=64)
def _blocks(seed: int, replicates: int, page: int) -> NDArray[np.float32]:
    rows = _page(seed, replicates, page).reshape(-1, BLOCK, replicates)
    drawn: NDArray[np.float32] = rows.mean(axis=1)
    drawn.setflags(write=False)
    return drawn
