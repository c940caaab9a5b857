"""What a run that is there shows for the plan of the next one."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from rm_monitor import stats
from rm_monitor.curve import tables
from rm_monitor.curve.curve import Curve
from rm_monitor.errors import GenerationError
from rm_monitor.generators import load_generator
from rm_monitor.monitor.foresight import EVALUATIONS, USUAL_JITTER, shown_by
from rm_monitor.monitor.monitor import RewardMonitor
from rm_monitor.runs.read import RecordedRun, load_run
from rm_monitor.types import Estimate, Scorer, Scores
from rm_monitor.verdict.judging import Rules

__all__ = ["Basis", "planned_by", "two_answers"]

_PROMPTS = 128
_SPREAD, _JITTER = stats.Spread(stats.SPREAD, math.nan), stats.as_pool_score(USUAL_JITTER)


@dataclass(frozen=True, slots=True, kw_only=True)
class Basis:
    """What a plan reckons with.

    Attributes:
        prompts: Independent ones.
        evaluations: Of the run.
        spread: Over prompts, of the difference of two checkpoints.
        jitter: What checkpoints differ by for no lasting reason, as a share of the pool score.
        seconds: Of one evaluation; nan unknown.
        measured: The spread was measured.
        shown: The jitter with its interval, as a run shows it; None: assumed.
    """

    prompts: int = _PROMPTS
    evaluations: int = EVALUATIONS
    spread: stats.Spread = _SPREAD
    jitter: float = _JITTER
    seconds: float = math.nan
    measured: bool = False
    shown: Estimate | None = None

    @property
    def rules(self) -> dict[str, Any]:
        """What `stats.plan` and `stats.worth_more_prompts` take of it."""
        far, near = self.spread
        return {"spread": far, "near": near if math.isfinite(near) else None, "jitter": self.jitter}


def planned_by(run: str | Path) -> Basis:
    """What a run shows: its prompts, evaluations, spread, jitter and seconds, as far as it shows them.

    Raises:
        NotFoundError: If there is no run.
    """
    found = load_run(run)
    rules = Rules.of_dict(found.manifest.get("rules") or {}, metric=found.metric)
    usual = Basis()
    spread = shown_by(found.curve, found.metric, rules.temperature)
    known = spread is not None and math.isfinite(spread.far) and spread.far > 0
    seconds = [
        p.measured["seconds"]
        for p in found.curve
        if p.status == "ok" and "seconds" in p.measured and "same_weights_as" not in p.measured
    ]
    jitter = _jitter(found, rules)
    judged = sum(p.status == "ok" for p in found.curve)
    return Basis(
        prompts=found.verdict.units or usual.prompts,
        evaluations=max(rules.alarm.horizon or judged, 2),
        spread=spread if known and spread is not None else usual.spread,
        jitter=usual.jitter if jitter is None else jitter.value,
        seconds=float(np.median(seconds)) if seconds else math.nan,
        measured=known,
        shown=jitter,
    )


def _jitter(run: RecordedRun, rules: Rules) -> Estimate | None:
    points = Curve(run.curve).comparable(run.metric)
    if len(points) < 5:
        return None
    scores = Curve(run.curve).scores(run.metric)
    labels = tables.clusters(run.prompts) if len(run.prompts) == scores.rows.shape[1] else None
    found = stats.jitter_of_run(
        scores.rows, pool=scores.pool, temperature=scores.temperature(rules.temperature), clusters=labels
    )
    return found if math.isfinite(found.value) else None


def two_answers(monitor: RewardMonitor, model: Any, tokenizer: Any) -> tuple[stats.Spread, float]:
    """Two answers to every prompt, scored: how much they differ, and the seconds of one evaluation.

    Raises:
        ValueError: If sampling is greedy, so that two answers are one, or the judge gives no rewards.
        GenerationError: If the policy could not answer.
    """
    given, scorers = monitor.settings, monitor._parts.evaluator.scorer_set
    if given.sampling.temperature == 0:
        raise ValueError(
            "two answers to a prompt are the same at `temperature` 0: nothing is measured by them; leave "
            "`measure` out"
        )
    scorer = scorers.scorers[scorers.primary]
    if not isinstance(scorer, Scorer):
        raise ValueError(
            f"`measure` compares rewards, and {scorers.primary!r} is a preference model: leave it out"
        )
    prompts, twice = list(given.prompts), replace(given.sampling, samples_per_prompt=2)
    generator = given.generator or load_generator()
    began = time.monotonic()
    answers = generator.generate(
        given.prompt_format.ask(prompts), twice, seed=given.seed, model=model, tokenizer=tokenizer
    )
    if len(answers) != 2 * len(prompts):
        raise GenerationError(f"asked for 2 answers to {len(prompts)} prompts, got {len(answers)}")
    said = scorer.score([p for p in prompts for _ in range(2)], answers)
    rewards = np.asarray(said.reward if isinstance(said, Scores) else said, dtype=np.float64)
    seconds = (time.monotonic() - began) * given.sampling.samples_per_prompt / 2
    rows = rewards.reshape(len(prompts), 2).T
    temperature = scorers.pool_temperature or stats.pool_temperature(rows[0])
    return stats.Spread(stats.spread_of_two_answers(rows, temperature=temperature), math.nan), seconds
