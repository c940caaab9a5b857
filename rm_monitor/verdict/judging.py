"""`Judging`: what a curve says, with everything that is seen beside its headline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from rm_monitor import messages
from rm_monitor.curve import tables
from rm_monitor.evaluation.early_stop import Rival
from rm_monitor.evaluation.measurer import Measured, Measurer
from rm_monitor.messages.failures import Complaints
from rm_monitor.types import EvalPoint, Signal, Tolerance, Verdict
from rm_monitor.verdict.fresh import FreshAnswers
from rm_monitor.verdict.judge import Memory, judge
from rm_monitor.verdict.signals.length_control import LengthControl, length_control
from rm_monitor.verdict.signals.watch import Watch

__all__ = ["Judging", "Rules"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """By what a curve is judged.

    Attributes:
        metric: The headline metric.
        temperature: Of the pool score; None: fitted to the first point's spread.
        seed: Of every bootstrap.
        min_drop: Smallest fall that is ever called degraded, as a share of the pool score.
        tolerance: Fall that is healthy, likewise, or ``"jitter"``.
        horizon: Evaluations the run will have; None: unknown.
        keep_best: Candidates for the best that stay on disk.
    """

    metric: str
    temperature: float | None = None
    seed: int = 0
    min_drop: float = 0.02
    tolerance: Tolerance = 0.0
    horizon: int | None = None
    keep_best: int = 1


class Judging:
    """Judges the curve of one run.

    Args:
        measurer: What measures: its prompts, references and judges are what the numbers depend on.
        rules: By what it is judged.
        complain: Where failures of ours go.
        watch: What is seen beside the headline.
        fresh: Answers to fresh prompts, by which warnings are settled; None: they are not.
    """

    def __init__(
        self,
        measurer: Measurer,
        rules: Rules,
        complain: Complaints,
        *,
        watch: Watch | None = None,
        fresh: FreshAnswers | None = None,
    ) -> None:
        self.watch = watch or Watch()
        self.fresh = fresh
        self._measurer = measurer
        self._rules = rules
        self._complain = complain
        self._memory = Memory()
        self._controlled: tuple[list[Any], LengthControl | None] = ([], None)

    def verdict(self, points: Sequence[EvalPoint]) -> Verdict:
        """What these points say."""
        rules = self._rules
        verdict = judge(
            points,
            metric=rules.metric,
            horizon=rules.horizon,
            temperature=rules.temperature,
            seed=rules.seed,
            min_drop=rules.min_drop,
            tolerance=rules.tolerance,
            clusters=tables.clusters(self._measurer.prompts),
            confirm_on_warn=self.fresh is not None,
            settled={} if self.fresh is None else self.fresh.settled,
            memory=self._memory,
        )
        signals = self._seen(points, verdict)
        flags = tuple(dict.fromkeys([*verdict.flags, *(s.name for s in signals)]))
        verdict = replace(verdict, flags=flags, signals=signals)
        return replace(verdict, reason=messages.reason(verdict, metric=rules.metric))

    def rival(self, points: Sequence[EvalPoint], verdict: Verdict, segment: str) -> Rival | None:
        """What a checkpoint must be as good as to be worth all prompts; None: it is worth them anyhow.

        The alarm needs whole evaluations until it has been raised twice in a row, and the best does until one
        is decisively behind it. After that nothing hangs on a checkpoint that is.
        """
        metric = self._rules.metric
        if verdict.state != "degraded" or verdict.consecutive < 2 or verdict.best is None:
            return None
        for point in points:
            if (point.step, point.segment, point.status) == (verdict.best.step, segment, "ok"):
                return Rival(step=point.step, metric=metric, values=point.values[metric])
        return None

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
            self._complain("fresh", "fresh prompts could not be asked; the warning stands as it is", problem)
            return verdict

    # ------------------------------------------------------------------ beside the headline

    def _seen(self, points: Sequence[EvalPoint], verdict: Verdict) -> tuple[Signal, ...]:
        """Signals; a failure here costs no verdict."""
        rules = self._rules
        try:
            unconfirmed = None
            if self.fresh is not None and verdict.step is not None:
                unconfirmed = self.fresh.signal(verdict.step)
            seen = self.watch.see(
                points,
                verdict,
                lengths=self._lengths(points),
                references=self._measurer.given_references,
                metric=rules.metric,
                horizon=rules.horizon,
                min_drop=rules.min_drop,
                tolerance=rules.tolerance,
                seed=rules.seed,
                clusters=tables.clusters(self._measurer.prompts),
            )
            return seen if unconfirmed is None else (unconfirmed, *seen)
        except Exception as problem:
            self._complain("signals", "tells and second opinions could not be read", problem)
            return ()

    def _lengths(self, curve: Sequence[EvalPoint]) -> LengthControl | None:
        references = self._measurer.references
        temperature = self._measurer.panel.margin_temperature
        if not references or temperature is None:
            return None
        asked = [p.values for p in curve]  # one evaluation asks twice, and a look at a long curve takes long
        last, control = self._controlled
        if len(asked) == len(last) and all(a is b for a, b in zip(asked, last, strict=True)):
            return control
        control = length_control(curve, references[0], temperature=temperature, seed=self._rules.seed)
        self._controlled = (asked, control)
        return control
