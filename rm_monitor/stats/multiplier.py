"""The multiplier bootstrap: healthy runs made from this run's own residuals.

Each replicate gives every prompt a random sign, the same at every evaluation, so that all looks of a run
are resampled jointly. Signs and not Gaussians, and restudentised: measured false alarms at n=64
fall from .063 to .040 on the same runs.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from rm_monitor.types import FloatArray

__all__ = ["resampled", "signs", "studentised"]

REPLICATES = 4_000
Signs = NDArray[np.int8] | NDArray[np.float32]
_READY = 10_000_000  # signs kept as floats, 40 MB; more are kept as bytes


@lru_cache(maxsize=4)
def signs(seed: int, units: int, replicates: int = REPLICATES) -> Signs:
    """``(units, replicates)`` of -1 and 1, drawn from a private generator."""
    drawn: Signs = np.random.default_rng(seed).integers(0, 2, (units, replicates), dtype=np.int8) * 2 - 1
    if drawn.size <= _READY:
        drawn = drawn.astype(np.float32)  # ready to multiply, which halves the time of a look
    drawn.setflags(write=False)  # it is shared by everyone who asks with the same seed
    return drawn


def resampled(influence: FloatArray, sign: Signs) -> NDArray[np.float32]:
    """``(t, replicates)`` sums of signed influences.

    Args:
        influence: ``(t, units)``.
        sign: ``(units, replicates)``.
    """
    return influence.astype(np.float32) @ sign.astype(np.float32, copy=False)


def studentised(top: NDArray[np.float32], units: int) -> NDArray[np.float32]:
    """Student-t like: each replicate's largest sum divided by its own standard error.

    That is a monotone map, and so can follow the maximum.
    """
    room = np.maximum(units - top**2, np.float32(1e-6))
    return top * np.sqrt(np.float32(units - 1) / room)
