"""`Judging`: what a curve says, with everything that is seen beside its headline."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

from rm_monitor import messages
from rm_monitor.curve import tables
from rm_monitor.curve.measured import Measured
from rm_monitor.messages.failures import FailureLog
from rm_monitor.prompts.conditions import Conditions
from rm_monitor.types import Alarm, EvalPoint, Signal, Verdict
from rm_monitor.verdict.alarm import Memory, judge
from rm_monitor.verdict.fresh import FreshAnswers
from rm_monitor.verdict.signals.diagnostics import Diagnostics
from rm_monitor.verdict.signals.length_control import LengthControl, length_control

__all__ = ["Judging", "Rules"]

_ALARM = ("tolerance", "min_drop", "horizon", "false_alarms")  # the rest of `Alarm` is prompts and models


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """By what a curve is judged.

    Attributes:
        metric: The headline metric.
        alarm: What the user said of the alarm.
        temperature: Of the pool score; None: fitted to the first point's spread.
        margin_temperature: Of margins inside the sigmoid; None: they have no probability.
        seed: Of every bootstrap.
        keep_best: Candidates for the best that stay on disk.
    """

    metric: str
    alarm: Alarm = field(default_factory=Alarm)
    temperature: float | None = None
    margin_temperature: float | None = None
    seed: int = 0
    keep_best: int = 1

    def as_dict(self) -> dict[str, Any]:
        """What a reader judges the curve by, ready for JSON."""
        alarm = {name: getattr(self.alarm, name) for name in _ALARM}
        own = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "alarm"}
        return {**own, "alarm": alarm}

    @classmethod
    def of_dict(cls, said: Mapping[str, Any], *, metric: str) -> Rules:
        """Read them back; what is not told is as it is by default."""
        alarm = said.get("alarm") or {}
        return cls(
            metric=metric,
            alarm=Alarm(**{name: alarm[name] for name in _ALARM if name in alarm}),
            temperature=said.get("temperature"),
            margin_temperature=said.get("margin_temperature"),
            seed=said.get("seed", 0),
            keep_best=said.get("keep_best", 1),
        )


class Judging:
    """Judges the curve of one run.

    Args:
        conditions: What the numbers depend on, as of now.
        rules: By what it is judged.
        failures: Where failures of ours go.
        diagnostics: What is seen beside the headline.
        fresh: Answers to fresh prompts, by which warnings are settled; None: they are not.
    """

    def __init__(
        self,
        conditions: Callable[[], Conditions],
        rules: Rules,
        failures: FailureLog,
        *,
        diagnostics: Diagnostics | None = None,
        fresh: FreshAnswers | None = None,
    ) -> None:
        self.diagnostics = diagnostics or Diagnostics()
        self.fresh = fresh
        self._conditions = conditions
        self._rules = rules
        self._failures = failures
        self._memory = Memory()
        self._controlled: tuple[list[Any], LengthControl | None] = ([], None)

    def verdict(self, points: Sequence[EvalPoint]) -> Verdict:
        """What these points say."""
        rules = self._rules
        verdict = judge(
            points,
            metric=rules.metric,
            alarm=rules.alarm,
            temperature=rules.temperature,
            seed=rules.seed,
            clusters=tables.clusters(self._conditions().prompts),
            settled=None if self.fresh is None else self.fresh.settled,
            memory=self._memory,
        )
        signals = self._seen(points, verdict)
        flags = tuple(dict.fromkeys([*verdict.flags, *(s.name for s in signals)]))
        verdict = replace(verdict, flags=flags, signals=signals)
        return replace(verdict, reason=messages.reason(verdict, metric=rules.metric))

    def at_equal_length(self, before: Sequence[EvalPoint], point: EvalPoint) -> EvalPoint:
        """The point with its win probability at the references' lengths, which takes the whole curve."""
        control = self._lengths([*(p for p in before if p.step < point.step), point])
        if control is None:
            return point
        more = {"lc_win_prob": control.win_prob[-1], "lc_slope": control.slope}
        return replace(point, metrics={**point.metrics, **more})

    def wants_fresh(self, point: EvalPoint, verdict: Verdict) -> bool:
        """Whether the weights of this point should answer fresh prompts too."""
        return self.fresh is not None and point.status == "ok" and self.fresh.wanted(verdict)

    def settle(self, points: Sequence[EvalPoint], verdict: Verdict, measured: Measured) -> Verdict:
        """Take answers to fresh prompts; if there is a warning, judge again with what they say."""
        assert self.fresh is not None
        try:
            if measured.table is None:
                raise measured.error or RuntimeError("fresh prompts were not answered")
            self.fresh.enter(verdict, tables.per_prompt(measured.table)["reward"])
            return self.verdict(points)
        except Exception as problem:
            self._failures("fresh", "fresh prompts could not be asked; the warning stands as it is", problem)
            return verdict

    # ------------------------------------------------------------------ beside the headline

    def _seen(self, points: Sequence[EvalPoint], verdict: Verdict) -> tuple[Signal, ...]:
        """Signals; a failure here costs no verdict."""
        rules = self._rules
        try:
            unconfirmed = None
            if self.fresh is not None and verdict.step is not None:
                unconfirmed = self.fresh.signal(verdict.step)
            seen = self.diagnostics.collect(
                points,
                verdict,
                lengths=self._lengths(points),
                references=self._conditions().given_references,
                limit=f"max_new_tokens={self._conditions().sampling.max_new_tokens}",
                metric=rules.metric,
                alarm=rules.alarm,
                seed=rules.seed,
                clusters=tables.clusters(self._conditions().prompts),
            )
            return seen if unconfirmed is None else (unconfirmed, *seen)
        except Exception as problem:
            self._failures("signals", "tells and second opinions could not be read", problem)
            return ()

    def _lengths(self, curve: Sequence[EvalPoint]) -> LengthControl | None:
        references = self._conditions().references
        temperature = self._rules.margin_temperature
        if not references or temperature is None:
            return None
        asked = [p.values for p in curve]  # one evaluation asks twice, and a look at a long curve takes long
        last, control = self._controlled
        if len(asked) == len(last) and all(a is b for a, b in zip(asked, last, strict=True)):
            return control
        control = length_control(curve, references[0], temperature=temperature, seed=self._rules.seed)
        self._controlled = (asked, control)
        return control
