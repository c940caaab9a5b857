"""Did the run go back? The looks of a whole run at once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rm_monitor.stats.detector import Detector
from rm_monitor.stats.look import Look
from rm_monitor.stats.windows import WIDTHS
from rm_monitor.types import FloatArray, Tolerance

__all__ = ["degradation", "smallest_visible_drop"]


def degradation(
    scores: FloatArray,
    *,
    pool: bool = True,
    temperature: float = 1.0,
    horizon: int | None = None,
    alpha: float = 0.05,
    windows: Sequence[int] = WIDTHS,
    min_drop: float = 0.02,
    tolerance: Tolerance = "jitter",
    seed: int = 0,
    clusters: NDArray[Any] | None = None,
) -> list[Look]:
    """Look at each evaluation of a run for a fall from any earlier one.

    Args:
        scores: ``(t, n)`` raw rewards, row = evaluation, column = prompt; nan where unscored. Samples of a
            prompt are averaged beforehand.
        pool: Compare by pool score (`pool_scores`); False: ``scores`` are per-prompt outcomes in [0, 1].
        temperature: Of the pool score.
        horizon: Evaluations the run will have, the first included; None: unknown, at some cost of power.
        alpha: Probability that a healthy run is flagged at least once, in (0, 1).
        windows: Widths of the windows that are contrasted.
        min_drop: A fall below this is never flagged.
        tolerance: ``"jitter"``: the run's own ups and downs count as chance. A share: a fall up to this is
            healthy; 0: every true fall counts, however short.
        seed: Of the resamples; same data and seed, same looks.
        clusters: ``(n,)`` labels of prompts that belong together, such as the turns of one conversation.

    Returns:
        One `Look` an evaluation. The first never flags, and none does under 10 prompts.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> level = np.array([0.0, 1.0, 1.0, 1.0, -1.0])[:, None]
        >>> looks = degradation(level + rng.normal(size=(5, 200)), horizon=5)
        >>> [look.flagged for look in looks], looks[-1].against[-1] < 4, looks[-1].low > 0.1
        ([False, False, False, False, True], True, True)
    """
    scores = np.asarray(scores, dtype=np.float64)
    if scores.ndim != 2:
        raise ValueError(
            f"`scores` has one row an evaluation and one column a prompt, got shape {scores.shape}"
        )
    detector = Detector(
        levels=(alpha,),
        pool=pool,
        temperature=temperature,
        horizon=horizon,
        windows=windows,
        min_drop=min_drop,
        tolerance=tolerance,
        seed=seed,
        clusters=clusters,
    )
    return [detector.add(row)[0] for row in scores]


def smallest_visible_drop(scores: FloatArray, **rules: Any) -> float:
    """Smallest lasting fall from here that these prompts would usually (80 %) show by the end of the run.

    Args:
        scores: ``(t, n)`` of a run so far, at least two rows.
        **rules: As for `degradation`.

    Returns:
        In points of the score as a share; nan when fewer than two rows can be compared.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> few, many = (smallest_visible_drop(rng.normal(size=(5, n))) for n in (64, 1024))
        >>> few > many
        True
    """
    looks = degradation(scores, **rules)
    return looks[-1].visible if looks else math.nan
