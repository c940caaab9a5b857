"""The best checkpoint, settled on prompts that no choice was made on before.

The highest of many readings reads high, and close ones are hard to tell apart. So the top few are
answered again on held-out prompts, the better of them once more, and the winner's value is read where it
was not chosen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from rm_monitor.stats.choice import best, highest
from rm_monitor.stats.intervals import mean, share
from rm_monitor.stats.paired import effects
from rm_monitor.stats.pool import pool_scores
from rm_monitor.types import BoolArray, Estimate, FloatArray

__all__ = ["Confirmed", "FreshAnswers", "confirm"]

_FOLDS = 10


class FreshAnswers(Protocol):
    """Answers held-out prompts with some of the checkpoints."""

    def __call__(self, rows: tuple[int, ...], stage: int) -> tuple[FloatArray, FloatArray]:
        """Answer the prompts of a stage, other ones than in any stage before.

        Args:
            rows: ``k`` rows of the run to answer with.
            stage: 0-based.

        Returns:
            ``(k, m)`` rewards (outcomes, with ``pool=False``) and ``(k, m)`` values of the headline metric.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmed:
    """The best evaluation after confirmation.

    Attributes:
        index: Its row.
        value: Its headline metric on the prompts of the last stage, each read from a choice made without
            it: not optimistic. If the finalists are close it is the value of *choosing* among them.
        p_best: Probability that it is the best of the finalists.
        tied: Finalists that may be the best as well.
        stages: Rows answered at each stage.
    """

    index: int
    value: Estimate
    p_best: float
    tied: tuple[int, ...]
    stages: tuple[tuple[int, ...], ...]


def confirm(
    scores: FloatArray,
    answer: FreshAnswers,
    *,
    keep: Sequence[int] = (5, 3),
    eligible: BoolArray | None = None,
    ties: FloatArray | None = None,
    pool: bool = True,
    temperature: float = 1.0,
    seed: int = 0,
) -> Confirmed:
    """Choose the best row in stages.

    The top ``keep[0]`` are answered afresh, then the top ``keep[1]`` of them, and so on. At each stage the
    survivors are ranked by pool score over all prompts that all of them answered.

    Args:
        scores: ``(t, n)`` raw rewards of the run (``pool=False``: outcomes), nan where unscored.
        answer: Answers held-out prompts.
        keep: How many rows enter each stage, falling.
        eligible: ``(t,)`` rows that may be chosen, such as those saved; None: all.
        ties: ``(t,)`` headline metric of the run: breaks exact ties.
        pool: Compare by pool score.
        temperature: Of the pool score.
        seed: Of the resamples and of the folds.

    Raises:
        ValueError: If ``keep`` is empty or does not fall, or ``answer`` gives other shapes.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> quality = np.array([0.0, 1.0, 1.6, 1.5, 0.5])
        >>> def answer(rows, stage):
        ...     rewards = quality[list(rows), None] + rng.normal(size=(len(rows), 200))
        ...     return rewards, 1 / (1 + np.exp(-rewards))
        >>> run = quality[:, None] + rng.normal(size=(5, 100))
        >>> chosen = confirm(run, answer, keep=(3, 2))
        >>> chosen.index in (2, 3), chosen.stages[0], chosen.value.n
        (True, (1, 2, 3), 200)
    """
    if not keep or min(keep) < 1 or list(keep) != sorted(keep, reverse=True):
        raise ValueError(f"`keep` says how many rows enter each stage and must fall, got {tuple(keep)}")
    scores = np.asarray(scores, dtype=np.float64)
    headline = None if ties is None else np.asarray(ties, dtype=np.float64)

    def leader(rows: list[int], known: FloatArray) -> int:
        value = effects(pool_scores(known, temperature) if pool else known).value
        order = None if headline is None else headline[rows]
        return highest(value, np.flatnonzero(np.isfinite(value)), order)

    choice = best(scores, eligible=eligible, ties=headline, pool=pool, temperature=temperature, seed=seed)
    allowed = np.isfinite(choice.pool) if eligible is None else np.isfinite(choice.pool) & eligible
    rows = [int(row) for row in np.flatnonzero(allowed)]
    known, standing = scores[rows], choice.pool[rows]
    stages: list[tuple[int, ...]] = []
    values = np.empty((0, 0))
    for stage, size in enumerate(keep):
        top = np.sort(np.argsort(-standing, kind="stable")[:size])
        rows = [rows[i] for i in top]
        rewards, values = _checked(answer(tuple(rows), stage), len(rows), stage)
        known = np.hstack([known[top], rewards])
        stages.append(tuple(rows))
        order = None if headline is None else headline[rows]
        choice = best(known, ties=order, pool=pool, temperature=temperature, seed=seed)
        standing = choice.pool
    read = np.empty(values.shape[1])
    fold = np.random.default_rng(seed).permutation(values.shape[1]) % _FOLDS
    for f in range(_FOLDS):
        chosen_on = np.ones(known.shape[1], dtype=bool)
        chosen_on[known.shape[1] - values.shape[1] :] = fold != f
        read[fold == f] = values[leader(rows, known[:, chosen_on]), fold == f]
    return Confirmed(
        index=rows[choice.index],
        value=share(read) if _is_share(read) else mean(read),
        p_best=choice.p_best,
        tied=tuple(rows[i] for i in choice.tied),
        stages=tuple(stages),
    )


def _is_share(x: FloatArray) -> bool:
    known = x[np.isfinite(x)]
    return bool(known.size and known.min() >= 0 and known.max() <= 1)


def _checked(given: tuple[FloatArray, FloatArray], k: int, stage: int) -> tuple[FloatArray, FloatArray]:
    rewards, values = (np.asarray(x, dtype=np.float64) for x in given)
    if rewards.ndim != 2 or len(rewards) != k or values.shape != rewards.shape:
        raise ValueError(
            f"`answer` must give rewards and values of shape ({k}, m) at stage {stage}, "
            f"got {rewards.shape} and {values.shape}"
        )
    return rewards, values
