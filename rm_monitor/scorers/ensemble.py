"""`Ensemble`: several judges as one preference scorer.

Comparisons are combined, not scores: reward models have different scales and zeros, and a mean of raw scores
is the verdict of the one that shouts loudest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from rm_monitor import stats
from rm_monitor.curve import rewards
from rm_monitor.scorers.load import load_scorer
from rm_monitor.scorers.run.keys import check_rows, digest
from rm_monitor.types import (
    Calibrated,
    Completion,
    Counts,
    Describes,
    FloatArray,
    Preferences,
    PreferenceScorer,
    Prompt,
    Scorer,
    Screened,
    Screens,
)

__all__ = ["Ensemble", "combine"]

Rule = Literal["mean", "min", "penalised"]
Member = Scorer | PreferenceScorer
RULES = ("mean", "min", "penalised")


class Ensemble:
    """Combines what its members say of each pair.

    ``mean`` is the mean of the members' probabilities. ``min`` is the lowest, ``penalised`` the mean less
    ``penalty`` times the members' variance: both are pessimistic about the completion, so that only what
    every member likes counts as better (Coste et al. 2023, arXiv 2310.02743). They read low by construction,
    and P(a beats b) + P(b beats a) is below 1: compare their points with each other, not with one half.

    Each member's own ``win_prob`` is logged as ``<name>/win_prob``, and how far members disagree (the
    standard deviation of their probabilities) as ``disagreement``. A pair that one member could not judge is
    left out.

    Args:
        members: Name -> whatever `load_scorer` takes. At least two.
        rule: ``mean``, ``min`` or ``penalised``.
        penalty: Of the variance; 0 or more.
        temperature: Divides a pointwise member's margins, for all or by name; None: what each was loaded
            with. A member whose scale is not ``logit`` has no probability without one (see
            ``fit_temperature``).
        on: ``probability``, or ``outcome``: combine wins (1, one half, 0), which every scale has.
        name: For people.

    Raises:
        ValueError: If an argument breaks a rule, or a member has no probability.

    Example:
        >>> longer = lambda prompts, completions: [float(len(c)) for c in completions]
        >>> polite = lambda prompts, completions: [float("please" in c) for c in completions]
        >>> both = Ensemble({"longer": longer, "polite": polite}, on="outcome")
        >>> p = Prompt(id="1", messages=({"role": "user", "content": "?"},))
        >>> said = both.prefer([p], [Completion(prompt_id="1", text="sit down")],
        ...                    [Completion(prompt_id="1", text="please")])
        >>> said.probability, said.measures["disagreement"]
        (array([0.5]), array([0.5]))
    """

    def __init__(
        self,
        members: Mapping[str, Any],
        *,
        rule: Rule = "mean",
        penalty: float = 1.0,
        temperature: float | Mapping[str, float] | None = None,
        on: Literal["probability", "outcome"] = "probability",
        name: str | None = None,
    ) -> None:
        if len(members) < 2:
            raise ValueError(f"`members` must be at least two, got {sorted(members)}")
        for member in members:
            if not member or set(member) & set("/@ "):
                raise ValueError(f"a member's name must be text without '/', '@' or blanks, got {member!r}")
        if rule not in RULES:
            raise ValueError(f"`rule` must be one of {RULES}, got {rule!r}")
        if on not in ("probability", "outcome"):
            raise ValueError(f"`on` must be 'probability' or 'outcome', got {on!r}")
        if not (np.isfinite(penalty) and penalty >= 0):
            raise ValueError(f"`penalty` must be 0 or more, got {penalty}")
        self.members: dict[str, Member] = {n: load_scorer(given) for n, given in members.items()}
        self.rule, self.penalty, self.on = rule, penalty, on
        self.name = name or "+".join(self.members)
        self._temperatures = self._checked(temperature)
        self._references: dict[tuple[str, bytes], float] = {}

    @property
    def fingerprint(self) -> str:
        """Every member's fingerprint, and how they are combined."""
        return digest(
            {
                "kind": "ensemble",
                "members": {name: member.fingerprint for name, member in self.members.items()},
                "rule": self.rule,
                "penalty": self.penalty if self.rule == "penalised" else None,
                "temperatures": self._temperatures,
                "on": self.on,
            }
        ).hex()

    def describe(self) -> str:
        """The rule, then each member."""
        parts = [f"ensemble      {self.name}, {self.rule} of {self.on}"]
        for name, member in self.members.items():
            said = member.describe() if isinstance(member, Describes) else type(member).__name__
            parts.append(f"-- {name}\n{said}")
        return "\n".join(parts)

    def each(self, change: Callable[[Any], Any]) -> None:
        """Put something around every member, such as the score cache."""
        self.members = {name: change(member) for name, member in self.members.items()}

    def screen(self, prompts: Sequence[Prompt]) -> Screened:
        """What any of the members says: a pair that one of them could not judge is left out."""
        told = [member.screen(prompts) for member in self.members.values() if isinstance(member, Screens)]
        unscorable = {id_: why for one in told for id_, why in one.unscorable.items()}
        incomplete = {id_: why for one in told for id_, why in one.incomplete.items()}
        return Screened(unscorable, {id_: w for id_, w in incomplete.items() if id_ not in unscorable})

    def counts(self) -> dict[str, int]:
        """What the members' work has cost so far."""
        told = [member.counts() for member in self.members.values() if isinstance(member, Counts)]
        return {name: sum(one.get(name, 0) for one in told) for name in {n for one in told for n in one}}

    def prefer(
        self, prompts: Sequence[Prompt], completions: Sequence[Completion], references: Sequence[Completion]
    ) -> Preferences:
        """Compare row by row. Pointwise members score a reference once.

        Returns:
            Probabilities ``(n,)``; nan where a member could not judge. ``measures`` holds ``disagreement``
            and each member's ``<name>/win_prob`` (or ``<name>/win_rate``).
        """
        check_rows(prompts, completions, references)
        said = [
            self._one(name, member, prompts, completions, references) for name, member in self.members.items()
        ]
        p = np.stack(said) if said[0].size else np.empty((len(said), 0))
        label = "win_prob" if self.on == "probability" else "win_rate"
        measures = {f"{name}/{label}": row for name, row in zip(self.members, p, strict=True)}
        return Preferences(
            probability=combine(p, rule=self.rule, penalty=self.penalty),
            measures={"disagreement": p.std(axis=0), **measures},
        )

    def _one(
        self,
        name: str,
        member: Member,
        prompts: Sequence[Prompt],
        completions: Sequence[Completion],
        references: Sequence[Completion],
    ) -> FloatArray:
        """``(n,)``: what one member says."""
        if isinstance(member, PreferenceScorer):
            said = member.prefer(prompts, completions, references)
            p = np.asarray(said.probability if isinstance(said, Preferences) else said, dtype=np.float64)
            return p if self.on == "probability" else stats.outcome(p - 0.5)
        reward = _rewards(member, prompts, completions)
        fixed = self._fixed(name, member, prompts, references)
        margin = stats.settled(reward, fixed, noise=rewards.noise_of(member))
        if self.on == "outcome":
            return stats.outcome(margin)
        return stats.win_probability(margin, temperature=self._temperatures[name])

    def _fixed(
        self, name: str, member: Scorer, prompts: Sequence[Prompt], references: Sequence[Completion]
    ) -> FloatArray:
        """``(n,)`` rewards of the references, each scored once for the life of this object."""
        keys = [
            (name, digest({"id": p.id, "question": p.question, "text": r.text}))
            for p, r in zip(prompts, references, strict=True)
        ]
        missing = {key: i for i, key in reversed(list(enumerate(keys))) if key not in self._references}
        rows = sorted(missing.values())
        if rows:
            fresh = _rewards(member, [prompts[i] for i in rows], [references[i] for i in rows])
            self._references |= {keys[i]: float(x) for i, x in zip(rows, fresh, strict=True)}
        return np.array([self._references[key] for key in keys], dtype=np.float64)

    def _checked(self, given: float | Mapping[str, float] | None) -> dict[str, float]:
        """A temperature for every pointwise member that needs one."""
        by_name = dict(given) if isinstance(given, Mapping) else {}
        unknown = sorted(set(by_name) - set(self.members))
        if unknown:
            raise ValueError(f"`temperature` names {unknown}; the members are {sorted(self.members)}")
        found: dict[str, float] = {}
        for name, member in self.members.items():
            if isinstance(member, PreferenceScorer) or self.on == "outcome":
                continue
            own = member.temperature if isinstance(member, Calibrated) else None
            value = by_name.get(name, given if isinstance(given, (int, float)) else own)
            if value is None and member.scale != "logit":
                raise ValueError(
                    f"member {name!r} has scale {member.scale!r}, so no probability: pass "
                    f"temperature={{{name!r}: T}} (`fit_temperature` finds T on labelled pairs), or "
                    "on='outcome'"
                )
            found[name] = 1.0 if value is None else float(value)
            if not (np.isfinite(found[name]) and found[name] > 0):
                raise ValueError(f"`temperature` of {name!r} must be above 0, got {value}")
        return found


def combine(p: FloatArray, *, rule: Rule, penalty: float = 1.0) -> FloatArray:
    """``(n,)`` from the ``(members, n)`` probabilities; nan where a member's is.

    The variance is the unbiased one, as in Coste et al.

    Example:
        >>> p = np.array([[0.9, 0.2], [0.5, np.nan]])
        >>> combine(p, rule="mean"), combine(p, rule="min"), combine(p, rule="penalised").round(2)
        (array([0.7, nan]), array([0.5, nan]), array([0.62, nan]))
    """
    if rule == "mean":
        return np.asarray(p.mean(axis=0))
    if rule == "min":
        return np.asarray(p.min(axis=0))
    return np.asarray(np.clip(p.mean(axis=0) - penalty * p.var(axis=0, ddof=1), 0.0, 1.0))


def _rewards(member: Scorer, prompts: Sequence[Prompt], completions: Sequence[Completion]) -> FloatArray:
    scored = member.score(prompts, completions)
    return rewards.as_scores(scored, len(completions), scorer=type(member).__name__).reward
