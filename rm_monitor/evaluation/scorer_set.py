"""The judges of a run: several scorers, several reference sets, one table of values.

The first scorer is the primary one and its metrics have no prefix; the others are ``name/...``. The
first reference set has no suffix; the others are ``.../name``. A pointwise scorer scores each completion
once, however many reference sets there are.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

import numpy as np

from rm_monitor import stats
from rm_monitor.curve import rewards, text_metrics
from rm_monitor.types import (
    Calibrated,
    Completion,
    Counts,
    FloatArray,
    Preferences,
    PreferenceScorer,
    Prompt,
    ReferenceSet,
    Scorer,
    Scores,
)

__all__ = ["ScorerSet"]

log = logging.getLogger("rm_monitor")


class ScorerSet:
    """Named scorers over a fixed set of prompts.

    Args:
        scorers: Name -> scorer, the primary one first.
        prompts: ``n`` prompts, in the order of every array here.
        temperature: Divides the primary scorer's margins inside the sigmoid; None is what that scorer was
            loaded with, else 1 on a logit scale and none elsewhere.
    """

    def __init__(
        self,
        scorers: Mapping[str, Scorer | PreferenceScorer],
        prompts: Sequence[Prompt],
        *,
        temperature: float | None = None,
    ) -> None:
        self.scorers = dict(scorers)
        self.prompts = tuple(prompts)
        self.temperature = temperature
        self._reference_rewards: dict[tuple[str, str], tuple[ReferenceSet, FloatArray]] = {}

    @property
    def primary(self) -> str:
        """Name of the scorer whose metrics carry no prefix."""
        return next(iter(self.scorers))

    @property
    def has_probability(self) -> bool:
        """Whether the primary scorer's comparisons have a win probability."""
        scorer = self.scorers[self.primary]
        if isinstance(scorer, PreferenceScorer):
            return True
        return scorer.scale == "logit" or self.temperature_of(self.primary) is not None

    def temperature_of(self, name: str) -> float | None:
        """What divides a scorer's margins; never another scorer's, whose differences mean something else."""
        given = self.temperature if name == self.primary else None
        scorer = self.scorers[name]
        own = scorer.temperature if isinstance(scorer, Calibrated) else None
        return own if given is None else given

    @property
    def margin_temperature(self) -> float | None:
        """Of margins inside the sigmoid; None where their scale has no probability, or there is no margin."""
        if not isinstance(self.scorers[self.primary], Scorer) or not self.has_probability:
            return None
        return self.temperature_of(self.primary) or 1.0

    @property
    def noise(self) -> float:
        """Up to which two of the primary scorer's rewards tie; 0 where it measured none."""
        return rewards.noise_of(self.scorers[self.primary])

    @property
    def pool_temperature(self) -> float | None:
        """Of the pool score; None where rewards are not on a logit scale: fitted to the first point then."""
        return self.temperature_of(self.primary) or (1.0 if self.has_probability else None)

    def headline(self, metric: str) -> str:
        """The metric asked for, or the win rate where there is no win probability.

        Raises:
            ValueError: If the primary scorer has no such metric.
        """
        if metric == "win_prob" and not self.has_probability:
            log.warning(
                "reward model %r has no logit scale, so no win probability: the headline is the win rate. "
                "Pass temperature= if its score differences are known to be on a scale.",
                self.primary,
            )
            return "win_rate"
        if metric == "reward" and not isinstance(self.scorers[self.primary], Scorer):
            raise ValueError(
                "`metric` 'reward' needs a reward model; a preference model gives only "
                "'win_prob' and 'win_rate'"
            )
        return metric

    def values(
        self, completions: Sequence[Sequence[Completion]], references: Sequence[ReferenceSet]
    ) -> dict[str, FloatArray]:
        """Every metric of these completions, each ``(n, k)``: from their texts and from the scorers."""
        values = dict(text_metrics.of_texts(completions))
        for name, scorer in self.scorers.items():
            prefix = "" if name == self.primary else name
            if isinstance(scorer, PreferenceScorer):
                self._prefer(values, prefix, scorer, completions, references)
            else:
                self._score(values, prefix, name, scorer, completions, references)
        for name in self.scorers:
            rewards.merge(values, _disagreement(values, name), name)
        return {name: x for name, x in values.items() if not np.isnan(x).all()}

    def reference_rewards(self, name: str, references: ReferenceSet) -> FloatArray:
        """``(n,)`` rewards of a reference set by one pointwise scorer, scored once."""
        if not self._knows(name, references):
            scorer = self.scorers[name]
            assert not isinstance(scorer, PreferenceScorer)
            self._scores(name, scorer, (), (), [references])
        return self._reference_rewards[name, references.name][1]

    def spent(self) -> dict[str, int]:
        """What the judges did so far: scores that were ``kept`` or ``new``, and ``tokens`` read."""
        spent = {"kept": 0, "new": 0, "tokens": 0}
        for scorer in self.scorers.values():
            if isinstance(scorer, Counts):
                for name, count in scorer.counts().items():
                    spent[name] = spent.get(name, 0) + count
        return spent

    def expected(self, references: Sequence[ReferenceSet]) -> FloatArray | None:
        """``(n,)`` rewards of the first reference set by the primary scorer; None for a preference model."""
        if not references or isinstance(self.scorers[self.primary], PreferenceScorer):
            return None
        return self.reference_rewards(self.primary, references[0])

    def _score(
        self,
        values: dict[str, FloatArray],
        prefix: str,
        name: str,
        scorer: Scorer,
        completions: Sequence[Sequence[Completion]],
        references: Sequence[ReferenceSet],
    ) -> None:
        n, k = len(completions), len(completions[0])
        prompts, flat = self._flat(completions)
        scores = self._scores(name, scorer, prompts, flat, references)
        reward = scores.reward.reshape(n, k)
        rewards.merge(values, {"reward": reward}, prefix)
        attributes = {f"attribute/{a}": x.reshape(n, k) for a, x in scores.attributes.items()}
        rewards.merge(values, attributes, prefix)
        flags = {f: x.reshape(n, k).astype(np.float64) for f, x in scores.flags.items() if f != "empty"}
        rewards.merge(values, flags, prefix)
        for i, reference in enumerate(references):
            fixed = self.reference_rewards(name, reference)
            compared = rewards.compare(
                reward,
                fixed,
                scale=scorer.scale,
                temperature=self.temperature_of(name),
                noise=rewards.noise_of(scorer),
            )
            if i == 0:
                compared["above_references"] = text_metrics.above(reward, fixed)
            rewards.merge(values, compared, prefix, "" if i == 0 else reference.name)

    def _scores(
        self,
        name: str,
        scorer: Scorer,
        prompts: Sequence[Prompt],
        completions: Sequence[Completion],
        references: Sequence[ReferenceSet],
    ) -> Scores:
        """Scores of the completions; references not scored yet go along: a judge then reads a prompt once."""
        new = [one for one in references if not self._knows(name, one)]
        asked, answers = [*prompts], [*completions]
        for one in new:
            asked += self.prompts
            answers += one.completions
        scores = rewards.as_scores(scorer.score(asked, answers), len(asked), scorer=f"scorer {name!r}")
        begin = len(prompts)
        for one in new:
            end = begin + len(self.prompts)
            self._reference_rewards[name, one.name] = (one, scores.reward[begin:end])
            begin = end
        return Scores(
            reward=scores.reward[: len(prompts)],
            attributes={a: x[: len(prompts)] for a, x in scores.attributes.items()},
            flags={f: x[: len(prompts)] for f, x in scores.flags.items()},
        )

    def _knows(self, name: str, references: ReferenceSet) -> bool:
        known = self._reference_rewards.get((name, references.name))
        return known is not None and known[0] == references

    def _prefer(
        self,
        values: dict[str, FloatArray],
        prefix: str,
        scorer: PreferenceScorer,
        completions: Sequence[Sequence[Completion]],
        references: Sequence[ReferenceSet],
    ) -> None:
        n, k = len(completions), len(completions[0])
        prompts, flat = self._flat(completions)
        for i, reference in enumerate(references):
            fixed = [c for c in reference.completions for _ in range(k)]
            said = scorer.prefer(prompts, flat, fixed)
            said = said if isinstance(said, Preferences) else Preferences(probability=np.asarray(said))
            probability = np.asarray(said.probability, dtype=np.float64).reshape(n, k)
            outcome = stats.outcome(probability - 0.5)
            compared = {
                "win_prob": probability,
                "win_rate": outcome,
                "tie_rate": np.where(np.isnan(outcome), np.nan, outcome == 0.5),
            }
            if said.order_gap is not None:
                compared["order_gap"] = np.asarray(said.order_gap, dtype=np.float64).reshape(n, k)
            compared |= {m: np.asarray(x, dtype=np.float64).reshape(n, k) for m, x in said.measures.items()}
            rewards.merge(values, compared, prefix, "" if i == 0 else reference.name)

    def _flat(self, completions: Sequence[Sequence[Completion]]) -> tuple[list[Prompt], list[Completion]]:
        prompts = [p for p, row in zip(self.prompts, completions, strict=True) for _ in row]
        return prompts, [c for row in completions for c in row]


def _disagreement(values: Mapping[str, FloatArray], name: str) -> dict[str, FloatArray]:
    """Whether a further scorer names the other winner than the primary one does; ties disagree with none."""
    ours, theirs = values.get("win_rate"), values.get(f"{name}/win_rate")
    if ours is None or theirs is None:
        return {}
    opposite = (ours - 0.5) * (theirs - 0.5)
    return {"disagreement": np.where(np.isnan(opposite), np.nan, (opposite < 0).astype(np.float64))}
