"""What a monitor is made of, for as long as it lives: settings, judges, and what evaluates.

A `Run` takes these and adds what ends with it.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from rm_monitor import messages
from rm_monitor.curve import tables
from rm_monitor.curve.measured import Measured
from rm_monitor.evaluation.evaluator import Evaluator
from rm_monitor.evaluation.scorer_set import ScorerSet
from rm_monitor.messages.failures import FailureLog
from rm_monitor.monitor.foresight import foresee, shown_by
from rm_monitor.monitor.judges import load_judges
from rm_monitor.monitor.overlap import Overlap, Recipe
from rm_monitor.monitor.quietly import quietly, say
from rm_monitor.monitor.recorder import Recorder
from rm_monitor.monitor.settings import Settings
from rm_monitor.sinks import default_sinks, load_sinks
from rm_monitor.training.ranks import Ranks, scores_here
from rm_monitor.types import EvalPoint, Scorer, Signal, Sink
from rm_monitor.verdict.fresh import FreshAnswers
from rm_monitor.verdict.judging import Rules
from rm_monitor.verdict.signals.diagnostics import Diagnostics

__all__ = ["Parts"]


class Parts:
    """Settings with the judges and the evaluator that were made of them.

    Args:
        settings: What the user asked for.

    Attributes:
        metric: The headline: the one asked for, or the win rate where there is no win probability.
        evaluator: Answers and scores.
        failures: Where failures of ours go.
        clock: Seconds that never go back.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.metric = settings.metric
        self.failures = FailureLog()
        self.clock = time.monotonic
        self.evaluator = Evaluator(
            settings.prompts,
            settings.references,
            None,
            sampling=settings.sampling,
            seed=settings.seed,
            kl=settings.kl,
            generator=settings.generator,
            keep_sharded=settings.keep_sharded,
            prompt_format=settings.prompt_format,
        )
        self._remembered: Measured | None = None
        if settings.report_to is not None:
            load_sinks(settings.report_to)  # a name that is none is refused now
        if settings.overlap:
            self.overlap()  # what it cannot be had with is refused now
        if scores_here():
            self.load_judges()

    def load_judges(self) -> None:
        """Load what scores, once; on the process that scores alone.

        Raises:
            ValueError: If the settings ask for what these judges cannot give.
        """
        if self.evaluator.has_judges:
            return
        with quietly():
            judges = load_judges(self.settings.scorers, self.settings.prompts)
        scorer_set = ScorerSet(judges, tuple(self.settings.prompts))
        self.metric = scorer_set.headline(self.settings.metric)
        primary = scorer_set.scorers[scorer_set.primary]
        if self.settings.fresh_prompts is not None and not isinstance(primary, Scorer):
            raise ValueError(
                "`confirm_on_warn` compares rewards: it needs a reward model, not a preference model"
            )
        self.evaluator.judge_with(scorer_set)

    # ------------------------------------------------------------------ made anew for each run

    def overlap(self) -> Overlap:
        """The second process of a run, not started yet.

        Raises:
            ValueError: If something is asked for that it cannot be had with.
        """
        settings = self.settings
        recipe = Recipe(
            scorers=settings.scorers,
            prompts=settings.prompts,
            sampling=settings.sampling,
            seed=settings.seed,
            kl=settings.kl,
            prompt_format=self.evaluator.prompt_format,
        )
        without = {"generator": settings.generator, "confirm_on_warn": settings.fresh_prompts}
        return Overlap(recipe, settings.overlap, without=without)

    def diagnostics(self) -> Diagnostics:
        """What sees more than the headline; on the processes that do not score it sees nothing."""
        if not self.evaluator.has_judges:
            return Diagnostics()
        scorer_set = self.evaluator.scorer_set
        judge = self.settings.scorers[scorer_set.primary]
        return Diagnostics(judge, scorer_set.scorers[scorer_set.primary], self.settings.alarm.training_reward)

    def sinks(self, report_to: Any) -> list[Sink]:
        """Where a run is shown: what the user asked for, else where the Trainer reports to."""
        asked = self.settings.report_to
        return default_sinks(report_to or ()) if asked is None else load_sinks(asked)

    def recorder(
        self, folder: Path, *, sinks: Any, horizon: int | None, diagnostics: Diagnostics
    ) -> Recorder:
        """What records a run on the process that scores."""
        settings, scorer_set = self.settings, self.evaluator.scorer_set
        alarm = replace(settings.alarm, horizon=settings.alarm.horizon or horizon)
        rules = Rules(
            metric=self.metric,
            alarm=alarm,
            temperature=scorer_set.pool_temperature,
            margin_temperature=scorer_set.margin_temperature,
            seed=settings.seed,
            keep_best=settings.keep_best,
        )
        fresh = None
        if settings.fresh_prompts is not None:
            fresh = FreshAnswers(
                folder,
                settings.fresh_prompts,
                temperature=rules.temperature or 1.0,
                tolerance=0.0 if alarm.tolerance == "jitter" else alarm.tolerance,
            )
        return Recorder(
            folder,
            lambda: self.evaluator.conditions(self.metric),
            self.evaluator.reference_rewards,
            rules,
            sinks=sinks,
            failures=self.failures,
            every=str(settings.schedule),
            name=settings.name,
            diagnostics=diagnostics,
            fresh=fresh,
        )

    # ------------------------------------------------------------------ outside a run

    def check(self, model: Any, tokenizer: Any) -> None:
        """Refuse a model that can never answer, and prompts that leave it no room for an answer.

        Raises:
            ValueError: What is wrong, and the way out.
        """
        if self.settings.generator is not None:
            return  # whoever answers instead knows its own limits
        from rm_monitor.generators.chat import check_prompts  # noqa: PLC0415  needed at the start alone
        from rm_monitor.monitor.refusals import check_policy  # noqa: PLC0415

        check_policy(model, tokenizer)
        if model is not None and tokenizer is not None:
            form = self.evaluator.prompt_format
            asked = form.ask(tuple(self.settings.prompts))
            check_prompts(asked, form.tokenizer(tokenizer), model.config, self.settings.sampling)

    def preview(
        self, model: Any, tokenizer: Any, *, step: int, folder: Path | None
    ) -> tuple[EvalPoint, Exception | None]:
        """Judge without a run: nothing is written, and a run that begins with these weights takes it over.

        Every rank calls it.
        """
        ranks = Ranks.current()
        if ranks.is_first:
            self.load_judges()
        evaluator = self.evaluator
        evaluator.begin(ranks, folder, resumes=True)
        measured = evaluator.measure(model, tokenizer, step=step)
        point = EvalPoint(step=step, status="failed", reason="it was measured on another process")
        if ranks.is_first:
            point = self.point_of(measured, step=step)
            name = evaluator.weights(model, tokenizer) if measured.table is not None else ""
            self._remembered = replace(measured, weights=name, segment=point.segment) if name else None
        return ranks.broadcast(point), measured.error

    def point_of(self, measured: Measured, *, step: int) -> EvalPoint:
        """A measurement as a point that is on no curve."""
        references = self.evaluator.references
        return tables.point(
            step,
            measured.table,
            prompts=self.settings.prompts,
            references=references[0] if references else None,
            metric=self.metric,
            expected=self.evaluator.reference_rewards() if measured.table is not None else None,
            error=measured.error,
            segment=self.evaluator.conditions(self.metric).segment,
            measured=measured.facts,
        )

    def remembered(self, weights: str) -> Measured | None:
        """What `preview` measured of these weights, if the conditions are the same."""
        known = self._remembered
        if known is None or not weights or known.weights != weights:
            return None
        return known if known.segment == self.evaluator.conditions(self.metric).segment else None

    # ------------------------------------------------------------------ said at the start

    def announce(self, recorder: Recorder, aside: str, diagnostics: Diagnostics) -> None:
        """Say what begins, and what of an earlier run lies in its folder."""
        say(messages.opening(recorder.facts()))
        try:
            say(self._foreseen(recorder))
        except Exception as problem:
            self.failures("plan", "what this run will see cannot be told", problem)
        for note in self.settings.prompts.notes:
            say(f"rm_monitor: {note}")
        if aside:
            say(f"rm_monitor: this folder holds an earlier run; {aside}")
        if diagnostics.same is not None:
            self.say_signal(diagnostics.same)

    def _foreseen(self, recorder: Recorder) -> str:
        """What this run will see, by its settings and by what the curve shows already."""
        rules = recorder.rules
        told = foresee(
            tuple(self.settings.prompts),
            rules.alarm,
            spread=shown_by(recorder.points, rules.metric, rules.temperature),
            jitter=recorder.verdict.jitter,
        )
        line = messages.foreseen(
            told.plan,
            n=told.prompts,
            units=told.units,
            is_guess=told.is_guess,
            knows_jitter=told.knows_jitter,
        )
        return f"rm_monitor: {line}"

    def say_signal(self, signal: Signal) -> None:
        """Say at once what was seen beside the headline."""
        say(f"rm_monitor: {messages.note(signal, metric=self.metric)}")
