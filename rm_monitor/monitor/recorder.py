"""`Recorder`: what rank 0 knows of a run. Every measurement is recorded, judged (`Judging`) and shown here.

The curve on disk, the verdict, the best checkpoint and the sinks. A pure function of what is on disk: a
resumed run decides as the unbroken one would have. Nothing in here may stop training.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from rm_monitor import messages
from rm_monitor.checkpoints.selection import Selection
from rm_monitor.curve import tables
from rm_monitor.curve.measured import Measured
from rm_monitor.messages.failures import FailureLog
from rm_monitor.monitor.described import begun
from rm_monitor.monitor.shown import Shown
from rm_monitor.prompts.conditions import Conditions
from rm_monitor.records.history import History
from rm_monitor.records.texts import write_texts
from rm_monitor.records.verdicts import write_verdict
from rm_monitor.types import Best, EvalPoint, FloatArray, Sink, Table, Update, Verdict
from rm_monitor.verdict.fresh import FreshAnswers
from rm_monitor.verdict.judging import Judging, Rules
from rm_monitor.verdict.signals.diagnostics import Diagnostics

__all__ = ["Recorder"]


class Recorder:
    """A run as rank 0 sees it.

    Args:
        folder: Where our files lie.
        conditions: What the numbers depend on, as of now.
        reference_rewards: ``(n,)`` rewards of the first reference set; None without one.
        rules: By what the curve is judged.
        sinks: Where evaluations are shown.
        failures: Where failures of ours go.
        every: When evaluations are due, in words.
        name: Of the monitor, where a trainer has several.
        diagnostics: What is seen beside the headline.
        fresh: Answers to fresh prompts, by which warnings are settled; None: they are not.
    """

    def __init__(
        self,
        folder: Path,
        conditions: Callable[[], Conditions],
        reference_rewards: Callable[[], FloatArray | None],
        rules: Rules,
        *,
        sinks: Sequence[Sink],
        failures: FailureLog,
        every: str,
        name: str = "",
        diagnostics: Diagnostics | None = None,
        fresh: FreshAnswers | None = None,
    ) -> None:
        with suppress(OSError):  # a disk that refuses: the history says so, and waits for it
            folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.rules = rules
        self.points: list[EvalPoint] = []
        self.curve: tuple[EvalPoint, ...] = ()
        self.verdict = Verdict()
        self.best: Best | None = None
        self.segment = ""
        self.attempt = 0
        self._conditions = conditions
        self._reference_rewards = reference_rewards
        self._shown = Shown(sinks, failures)
        self._failures = failures
        self._every = every
        self._name = name
        self._judging = Judging(conditions, rules, failures, diagnostics=diagnostics, fresh=fresh)
        self._history = History(folder)
        self._selection = Selection(
            folder,
            keep=rules.keep_best,
            metric=rules.metric,
            temperature=rules.temperature,
            seed=rules.seed,
            clusters=tables.clusters(conditions().prompts),
        )
        self._notes: dict[str, Any] = {}
        self._written: Any = None  # what the manifest says
        self._unshown: tuple[EvalPoint, Table | None, Verdict] | None = None

    def begin(self, resume_step: int | None, output_dir: Path) -> str:
        """Begin an attempt; with a step to resume from, go on with the curve of the process before.

        Returns:
            What of an earlier run was set aside, in words; empty if nothing was.
        """
        self.attempt = self._history.begin(resume_step)
        self.points = self._history.points()
        living = {p.step: p.attempt for p in self.points}
        aside = self._selection.begin(output_dir, living, self.attempt)
        self.note({"begun": begun(self.folder, resumed=resume_step is not None)})
        if self._judging.fresh is not None:
            self._judging.fresh.begin(self._conditions().judged_by, set(living))
        if self.points:
            try:
                self.verdict = self._judging.verdict(self.points)
            except Exception as problem:
                self._failures("verdict", "no verdict on the curve so far", problem)
            self.keep()
        self._refresh()
        self._shown.news(self.verdict)  # what an earlier process told, and what is said at the start
        return aside

    def enter(
        self, step: int, measured: Measured, *, about_to_save: bool
    ) -> tuple[EvalPoint, Exception | None]:
        """Record, judge, elect; `show` is next, once fresh prompts have been asked.

        Returns:
            The point, and what went wrong, if anything did.
        """
        error, table = measured.error, measured.table
        try:
            self._name_segment()
            point = self._judging.at_equal_length(self.points, self._point(step, measured))
        except Exception as problem:
            error, table = problem, None
            point = self._point(step, Measured(table=None, error=problem, facts=measured.facts))
        if error is not None:
            self._failures("evaluation", f"evaluation at step {step} failed; training goes on", error)
        self._unshown = (point, table, self.verdict)
        self._replace(point)
        try:
            self._history.append(point, table)
        except Exception as problem:
            self._failures("history", f"step {step} could not be written; it is kept in memory", problem)
        try:
            self.verdict = self._judging.verdict(self.points)
            self.best = self._selection.elect(self.points, about_to_save=step if about_to_save else None)
        except Exception as problem:
            self._failures("verdict", f"no verdict at step {step}", problem)
            error = error or problem
        self._refresh()
        return point, error

    def look_up(self, weights: str) -> EvalPoint | None:
        """The point of these very weights, if they were judged under the present conditions."""
        segment = self._conditions().segment
        wanted = (weights, segment, "ok")
        return next(
            (p for p in reversed(self.points) if weights and (p.weights, p.segment, p.status) == wanted), None
        )

    def known(self, weights: str) -> Measured | None:
        """What these very weights said at an earlier step, if that is on disk, whole, and comparable."""
        began = time.monotonic()
        point = self.look_up(weights)
        table = None if point is None else self._history.table(point.step)
        if point is None or table is None:
            return None
        facts = {"same_weights_as": float(point.step), "seconds": time.monotonic() - began}
        return Measured(table=table, facts=facts, weights=weights)

    @property
    def wants_fresh(self) -> bool:
        """Whether the weights as they stand should answer fresh prompts too."""
        return self._unshown is not None and self._judging.wants_fresh(self._unshown[0], self.verdict)

    def settle(self, measured: Measured) -> None:
        """Take answers to fresh prompts; if there is a warning, judge again with what they say."""
        self.verdict = self._judging.settle(self.points, self.verdict, measured)

    def show(self) -> None:
        """Show the evaluation that was entered last."""
        if self._unshown is not None:
            self._show(*self._unshown)

    def note(self, facts: Mapping[str, Any]) -> None:
        """Note what people want to know beside the conditions; the manifest tells of it."""
        self._notes = {**self._notes, **facts}
        self._name_segment()

    def lies(self, step: int, checkpoint: Path) -> None:
        """A checkpoint of this step lies in this directory; what is kept is decided by `keep`."""
        self._selection.saved(step, checkpoint)

    def path(self, step: int) -> Path | None:
        """Where the checkpoint of a step lies; None if it lies nowhere."""
        return self._selection.path(step)

    def keep(self) -> None:
        """Link what must stay and mark the best."""
        try:
            self.best = self._selection.keep(self.points)
        except Exception as problem:
            self._failures("checkpoints", "the best checkpoint could not be kept", problem)
        self._refresh()

    def facts(self) -> dict[str, str]:
        """The run in words."""
        conditions = self._conditions()
        named = ", ".join(r.name for r in conditions.references)
        return {
            "prompts": str(len(conditions.prompts)),
            "references": named or "the initial policy's own answers",
            "reward_model": ", ".join(conditions.scorers),
            "every": self._every,
            "metric": self.rules.metric,
        }

    def close(self) -> str:
        """Let sinks send what they hold back, let go of the files; then `summary`."""
        self._shown.close()
        self._history.close()
        return self.summary()

    def summary(self) -> str:
        """The run's end, or where it stands, in words."""
        return messages.summary(
            self.curve, self.verdict, self.best, metric=self.rules.metric, output_dir=str(self.folder)
        )

    # ------------------------------------------------------------------ parts of it

    def _replace(self, point: EvalPoint) -> None:
        """Put a point on the curve; weights that were saved under its step are no more the judged ones."""
        before = next((p for p in self.points if p.step == point.step), None)
        if before is not None and before.weights and point.weights and before.weights != point.weights:
            self._selection.forget(point.step)
        others = [p for p in self.points if p.step != point.step]
        self.points = sorted([*others, point], key=lambda p: p.step)

    def _refresh(self) -> None:
        """The curve with the checkpoints that lie on disk now."""
        paths = [self._selection.path(p.step) for p in self.points]
        self.curve = tuple(
            replace(p, checkpoint=None if path is None else str(path))
            for p, path in zip(self.points, paths, strict=True)
        )

    def _name_segment(self) -> None:
        """Points may be compared if what they depend on is equal; a change is written down."""
        conditions = self._conditions()
        if conditions.segment == self.segment and self._notes is self._written:
            return
        self.segment, self._written = conditions.segment, self._notes
        rules = {"rules": self.rules.as_dict(), "every": self._every}
        facts = {**conditions.manifest(), **rules, **self._notes}
        try:
            self._history.write_manifest(facts)
            write_texts(self.folder, conditions.prompts, conditions.references)
        except OSError as problem:
            self._failures("manifest", "what the run measures with could not be written", problem)

    def _point(self, step: int, measured: Measured) -> EvalPoint:
        conditions = self._conditions()
        return tables.point(
            step,
            measured.table,
            prompts=conditions.prompts,
            references=conditions.references[0] if conditions.references else None,
            metric=self.rules.metric,
            expected=self._reference_rewards() if measured.table is not None else None,
            error=measured.error,
            skipped=measured.skipped,
            segment=self.segment,
            attempt=self.attempt,
            measured={**measured.facts, **self._judging.diagnostics.facts(step, self.points)},
            weights=measured.weights,
        )

    def _show(self, point: EvalPoint, table: Table | None, before: Verdict) -> None:
        try:
            write_verdict(self.folder, self.verdict, self.points)
        except OSError as problem:
            self._failures("verdict file", "the verdict could not be written", problem)
        conditions, rewards = self._conditions(), None
        with suppress(Exception):  # shown for information only; the failure itself is in the point
            rewards = self._reference_rewards()
        update = Update(
            point=point,
            verdict=self.verdict,
            best=self.best,
            curve=self.curve,
            metric=self.rules.metric,
            changed=self.verdict.state != before.state,
            news=self._shown.news(self.verdict),
            prompts=tuple(conditions.prompts),
            table=table,
            references=conditions.references[0] if conditions.references else None,
            reference_rewards=rewards,
            output_dir=str(self.folder),
            run=self.facts(),
            name=self._name,
        )
        self._shown.show(update)
