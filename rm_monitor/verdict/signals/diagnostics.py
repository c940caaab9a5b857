"""`Diagnostics`: what is seen beside the headline, put together after each evaluation.

Every signal is a pure function of the curve, of the trainer's logs and of what the user said of the training
reward; a resumed run sees what the unbroken one would have seen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rm_monitor.curve.text_metrics import duplicates
from rm_monitor.stats import Memory
from rm_monitor.types import EvalPoint, ReferenceSet, Signal, Verdict
from rm_monitor.verdict.drift import drift
from rm_monitor.verdict.signals import length_control, overoptimisation
from rm_monitor.verdict.signals.same_model import model_names, same_model, short_name
from rm_monitor.verdict.signals.training_reward import TrainingRewards

__all__ = ["Diagnostics"]


class Diagnostics:
    """What a run's signals are read from, beside its curve.

    Args:
        judge: What the user gave as the primary judge.
        scorer: What was loaded from it.
        training_reward: What the user said that training optimises; None: nothing.
    """

    def __init__(self, judge: Any = None, scorer: Any = None, training_reward: Any = None) -> None:
        self._judge = judge
        self._same: Signal | None = None
        self._memories: dict[str, Memory] = {}
        self._rewards = TrainingRewards()
        given = training_reward if isinstance(training_reward, (list, tuple)) else [training_reward]
        for one in given:
            how = None if one is None else same_model(judge, scorer, one)
            if how is not None:
                self._same = Signal(name="same_reward_model", about=how)

    def note(self, step: int, logs: Mapping[str, Any], arguments: Any = None) -> Signal | None:
        """Read a record of the trainer's logs.

        Returns:
            That the judge is the training reward, when this record is the first to show it.
        """
        self._rewards.note(step, logs)
        if self._same is None and self._judge is not None:
            ours = short_name(self._judge)
            for name in model_names(logs, arguments):
                if short_name(name) == ours:
                    self._same = Signal(name="same_reward_model", about=f"the same name {ours}")
                    return self._same
        return None

    def facts(self, step: int, curve: Sequence[EvalPoint]) -> dict[str, float]:
        """``training_reward``: its mean over the logs since the evaluation before, if there are any."""
        since = max((p.step for p in curve if p.step < step), default=-1)
        logged = self._rewards.between(since + 1, step)
        return {"training_reward": sum(logged) / len(logged)} if logged else {}

    @property
    def same(self) -> Signal | None:
        """That the judge is the training reward, if that can be seen."""
        return self._same

    def collect(
        self,
        curve: Sequence[EvalPoint],
        verdict: Verdict,
        *,
        lengths: length_control.LengthControl | None = None,
        references: ReferenceSet | None = None,
        limit: str = "the token limit",
        **rules: Any,
    ) -> tuple[Signal, ...]:
        """Every signal that holds at the last point.

        Args:
            curve: Points in order of step.
            verdict: What the headline says of them.
            lengths: From `length_control`.
            references: Answers that were given as good ones; None: there are none.
            limit: What cuts answers off, in words.
            **rules: As for `rm_monitor.verdict.signals.overoptimisation.second_opinions`.
        """
        if not curve:
            return ()
        found = [] if self._same is None else [self._same]
        found += overoptimisation.second_opinions(curve, memories=self._memories, **rules)
        if verdict.state in ("warned", "degraded") and verdict.step is not None:
            since = verdict.against[-1] if verdict.against else verdict.best.step if verdict.best else None
            if since is not None:
                risen = self._rewards.signal(since=since, step=verdict.step, judge=verdict.change)
                found += [] if risen is None else [risen]
        explained = None if lengths is None else length_control.signal(lengths, curve)
        found += [] if explained is None else [explained]
        usual = 0.0 if references is None else duplicates([c.text for c in references.completions])
        alarm, horizon = rules.get("alarm"), rules.get("horizon")
        if alarm is not None and alarm.horizon is not None:
            horizon = alarm.horizon
        found += drift(curve, usual=usual, limit=limit, horizon=horizon, clusters=rules.get("clusters"))
        return tuple(found)
