"""The best checkpoint of a run that is over, settled on held-out prompts, with a value that is honest.

The highest of many readings reads high, and near-best checkpoints cannot be told apart on the prompts that
ranked them. So the top few answer prompts that the run was never judged on, the better of them others once
more (`rm_monitor.stats.confirm`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from rm_monitor import stats
from rm_monitor.curve.curve import Curve
from rm_monitor.prompts import PromptSet
from rm_monitor.types import Best, EvalPoint, FloatArray, Prompt

__all__ = ["AnswersAgain", "Confirmation", "confirm_best", "parts"]

FEWEST = 10  # held-out prompts a stage


class AnswersAgain(Protocol):
    """Answers held-out prompts with a saved checkpoint."""

    def __call__(self, point: EvalPoint, prompts: Sequence[Prompt]) -> Mapping[str, FloatArray]:
        """Answer and score.

        Args:
            point: Whose ``checkpoint`` is to answer.
            prompts: ``m`` prompts, other ones at each stage.

        Returns:
            Metric -> ``(m,)``, nan where unscored: the headline metric and, of a reward model, ``reward``.
            ``Table.values`` averaged over samples (`rm_monitor.curve.tables.per_prompt`) is that.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmation:
    """What held-out prompts say of the best.

    Attributes:
        best: The winner; its ``value`` is read on prompts that it was not chosen by, so it is not
            optimistic. ``p_best`` and ``tied`` are among the finalists.
        live: Step that the run itself called best.
        stages: Steps that answered at each stage, in order of step.
        n: Held-out prompts of each stage.
        metric: The headline metric.
    """

    best: Best
    live: int
    stages: tuple[tuple[int, ...], ...]
    n: tuple[int, ...]
    metric: str


def parts(prompts: PromptSet, stages: int, *, seed: int = 0) -> tuple[tuple[Prompt, ...], ...]:
    """Held-out prompts shared out over stages, equally and at random.

    Raises:
        ValueError: If there are fewer than 10 a stage.
    """
    if len(prompts) < FEWEST * stages:
        raise ValueError(
            f"{stages} stages need at least {FEWEST * stages} held-out prompts, {FEWEST} a stage; "
            f"got {len(prompts)}: give more prompts or fewer stages"
        )
    order = np.random.default_rng(seed).permutation(len(prompts))
    asked = list(prompts)
    return tuple(tuple(asked[i] for i in sorted(part)) for part in np.array_split(order, stages))


def confirm_best(
    curve: Sequence[EvalPoint],
    prompts: PromptSet,
    answer: AnswersAgain,
    *,
    metric: str,
    keep: Sequence[int] = (5, 3),
    temperature: float | None = 1.0,
    seed: int = 0,
) -> Confirmation:
    """Answer again with the top few saved checkpoints of a run, and choose.

    Args:
        curve: The run; only points of its last segment that are whole and have a checkpoint can win.
        prompts: Held-out prompts: none that the run was judged on.
        answer: Answers some of them with a point's checkpoint.
        metric: The headline metric.
        keep: How many checkpoints enter each stage, falling.
        temperature: Of the pool score; None: fitted to the first point.
        seed: Of the shares and the resamples.

    Raises:
        ValueError: If no point has a checkpoint, the prompts are too few, or some were asked before.

    Example:
        >>> from rm_monitor import Estimate, load_prompts
        >>> rng, quality = np.random.default_rng(0), {0: 0.0, 100: 1.5, 200: 1.4, 300: 0.2}
        >>> def rewards(step, n):
        ...     return {"reward": quality[step] + rng.normal(size=n)}
        >>> curve = [EvalPoint(step=s, checkpoint=f"checkpoint-{s}", values=rewards(s, 60),
        ...                    metrics={"reward": Estimate(q, q, q, 60)}) for s, q in quality.items()]
        >>> held_out = load_prompts([f"prompt {i}" for i in range(400)])
        >>> found = confirm_best(curve, held_out, lambda point, asked: rewards(point.step, len(asked)),
        ...                      metric="reward", keep=(3, 2))
        >>> found.stages[-1], found.n, found.best.step in (100, 200), abs(found.best.value.value - 1.45) < 0.2
        ((100, 200), (200, 200), True, True)
    """
    points = Curve(curve).holding(metric)
    saved = np.array([p.checkpoint is not None for p in points], dtype=bool)
    if not saved.any():
        raise ValueError("no point of the curve has a checkpoint on disk: there is nothing to answer again")
    asked = {i for p in points for i in p.prompt_ids}
    again = [p for p in prompts if p.id in asked]
    if again:
        raise ValueError(
            f"{len(again)} of the held-out prompts were asked in the run, such as {again[0].label}: the "
            "highest of its readings would be confirmed by itself"
        )
    shares = parts(prompts, len(keep), seed=seed)
    told = points.scores(metric)
    scores, pool, name = told.rows, told.pool, told.name
    if temperature is None:
        temperature = stats.pool_temperature(scores[0])

    def answers(rows: tuple[int, ...], stage: int) -> tuple[FloatArray, FloatArray]:
        given = [answer(points[row], shares[stage]) for row in rows]
        return np.array([g[name] for g in given]), np.array([g[metric] for g in given])

    ties = np.array([p.metrics[metric].value for p in points])
    live = stats.best(scores, eligible=saved, ties=ties, pool=pool, temperature=temperature, seed=seed)
    chosen = stats.confirm(
        scores,
        answers,
        keep=keep,
        eligible=saved,
        ties=ties,
        pool=pool,
        temperature=temperature,
        seed=seed,
    )
    winner = points[chosen.index]
    return Confirmation(
        best=Best(
            step=winner.step,
            value=chosen.value,
            checkpoint=winner.checkpoint,
            p_best=chosen.p_best,
            tied=tuple(points[i].step for i in chosen.tied),
        ),
        live=points[live.index].step,
        stages=tuple(tuple(points[i].step for i in rows) for rows in chosen.stages),
        n=tuple(len(share) for share in shares),
        metric=metric,
    )
