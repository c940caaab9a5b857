"""`Logbook`: what rank 0 knows of a run. Every measurement is recorded, judged (`Judging`) and shown here.

The curve on disk, the verdict, the best checkpoint and the sinks. A pure function of what is on disk: a
resumed run decides as the unbroken one would have. Nothing in here may stop training.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from rm_monitor import messages
from rm_monitor.checkpoints.selection import Selection
from rm_monitor.curve import tables
from rm_monitor.evaluation.early_stop import Rival
from rm_monitor.evaluation.measurer import Measured, Measurer
from rm_monitor.messages.failures import Complaints
from rm_monitor.prompts import contamination
from rm_monitor.prompts.conditions import segment_id
from rm_monitor.prompts.contamination import Contamination
from rm_monitor.prompts.initial_answers import INITIAL
from rm_monitor.records.history import History
from rm_monitor.records.texts import write_texts
from rm_monitor.records.verdicts import write_verdict
from rm_monitor.types import Best, ClosableSink, EvalPoint, FloatArray, Signal, Sink, Table, Update, Verdict
from rm_monitor.verdict.fresh import FreshAnswers
from rm_monitor.verdict.judging import Judging, Rules
from rm_monitor.verdict.signals.watch import Watch

__all__ = ["Logbook"]

log = logging.getLogger("rm_monitor")


class Logbook:
    """A run as rank 0 sees it.

    Args:
        folder: ``<output_dir>/_rm_monitor``.
        measurer: What measures: its prompts, references and judges are what the numbers depend on.
        rules: By what the curve is judged.
        sinks: Where evaluations are shown.
        complain: Where failures of ours go.
        every: When evaluations are due, in words.
        watch: What is seen beside the headline.
        fresh: Answers to fresh prompts, by which warnings are settled; None: they are not.
    """

    def __init__(
        self,
        folder: Path,
        measurer: Measurer,
        rules: Rules,
        *,
        sinks: Sequence[Sink],
        complain: Complaints,
        every: str,
        watch: Watch | None = None,
        fresh: FreshAnswers | None = None,
    ) -> None:
        with suppress(OSError):  # a disk that refuses: the history says so, and waits for it
            folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.rules = rules
        self.points: list[EvalPoint] = []
        self.verdict = Verdict()
        self.best: Best | None = None
        self._measurer = measurer
        self._sinks = sinks
        self._complain = complain
        self._every = every
        self._judging = Judging(measurer, rules, complain, watch=watch, fresh=fresh)
        self._told: set[tuple[str, str]] = set()
        self._history = History(folder)
        self._selection = Selection(
            folder,
            keep=rules.keep_best,
            metric=rules.metric,
            temperature=rules.temperature,
            seed=rules.seed,
        )
        self._attempt = 0
        self._trained_on: Contamination | None = None
        self._written_of: Contamination | None = None  # what the manifest says
        self.segment = ""

    def open(self, resume_step: int | None, output_dir: Path) -> None:
        """Begin an attempt; with a step to resume from, go on with the curve of the process before."""
        self._attempt = self._history.begin(resume_step)
        self.points = self._history.points()
        self._selection.begin(output_dir, {p.step for p in self.points})
        self._name_segment()
        if self._judging.fresh is not None:
            self._judging.fresh.begin(self._judged_by(), {p.step for p in self.points})
        if self.points:
            try:
                self.verdict = self._judging.verdict(self.points)
            except Exception as problem:
                self._complain("verdict", "no verdict on the curve so far", problem)
            self.keep()
        self._news()  # what an earlier process told, and what is said at the start

    @property
    def curve(self) -> tuple[EvalPoint, ...]:
        """Every point so far; ``checkpoint`` says where its weights lie now."""
        paths = [self._selection.path(p.step) for p in self.points]
        return tuple(
            replace(p, checkpoint=None if path is None else str(path))
            for p, path in zip(self.points, paths, strict=True)
        )

    # ------------------------------------------------------------------ one evaluation

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
            point = self._point(step, measured)
            point = point if measured.stopped else self._judging.at_equal_length(self.points, point)
        except Exception as problem:
            error, table = problem, None
            point = self._point(step, Measured(table=None, error=problem, facts=measured.facts))
        if error is not None:
            self._complain("evaluation", f"evaluation at step {step} failed; training goes on", error)
        self._unshown = (point, table, self.verdict)
        self.points = sorted([p for p in self.points if p.step != step] + [point], key=lambda p: p.step)
        try:
            self._history.append(point, table)
        except Exception as problem:
            self._complain("history", f"step {step} could not be written; it is kept in memory", problem)
        try:
            self.verdict = self._judging.verdict(self.points)
            self.best = self._selection.elect(self.points, about_to_save=step if about_to_save else None)
        except Exception as problem:
            self._complain("verdict", f"no verdict at step {step}", problem)
            error = error or problem
        return point, error

    def known(self, weights: str) -> Measured | None:
        """What these very weights said at an earlier step, if that is on disk, whole, and comparable."""
        if not weights:
            return None
        began = time.monotonic()
        segment = segment_id(self._measurer.manifest(self.rules.metric))
        for point in reversed(self.points):
            if (point.weights, point.segment, point.status) == (weights, segment, "ok"):
                table = self._history.table(point.step)
                facts = {"same_weights_as": float(point.step), "seconds": time.monotonic() - began}
                return None if table is None else Measured(table=table, facts=facts, weights=weights)
        return None

    @property
    def rival(self) -> Rival | None:
        """What a checkpoint must be as good as to be worth all prompts; None: it is worth them anyhow."""
        return self._judging.rival(self.points, self.verdict, self.segment)

    @property
    def wants_fresh(self) -> bool:
        """Whether the weights as they stand should answer fresh prompts too."""
        return self._judging.wants_fresh(self._unshown[0], self.verdict)

    def settle(self, measured: Measured) -> None:
        """Take answers to fresh prompts; if there is a warning, judge again with what they say."""
        self.verdict = self._judging.settle(self.points, self.verdict, measured)

    def show(self) -> None:
        """Show the evaluation that was entered last."""
        self._show(*self._unshown)

    def examine(self, dataset: Any, tokenizer: Any = None) -> str:
        """Look for the prompts and the given references in the training set, within bounds.

        Returns:
            One sentence; empty if the training set could not be read.
        """
        from rm_monitor.training.undisturbed import undisturbed  # noqa: PLC0415  needs torch

        decode = None if tokenizer is None else partial(tokenizer.decode, skip_special_tokens=True)
        given = [r for r in self._measurer.references if r.name != INITIAL]
        try:
            with undisturbed():  # a dataset may draw random numbers when it is read
                rows, total = contamination.rows_of(dataset)
                found = contamination.check(
                    tuple(self._measurer.prompts), given, rows, decode=decode, total=total
                )
            self._trained_on = found
            self._name_segment()
        except Exception as problem:
            self._complain("contamination", "the training set could not be examined", problem)
            return ""
        return str(found)

    def saved(self, step: int, checkpoint: Path) -> None:
        """A checkpoint of this step lies in this directory."""
        self._selection.saved(step, checkpoint)

    def path(self, step: int) -> Path | None:
        """Where the checkpoint of a step lies; None if it lies nowhere."""
        return self._selection.path(step)

    def keep(self) -> None:
        """Link what must stay and mark the best."""
        try:
            self.best = self._selection.keep(self.points)
        except Exception as problem:
            self._complain("checkpoints", "the best checkpoint could not be kept", problem)

    def facts(self) -> dict[str, str]:
        """The run in words."""
        references = ", ".join(r.name for r in self._measurer.references)
        return {
            "prompts": str(len(self._measurer.prompts)),
            "references": references or "the initial policy's own answers",
            "reward_model": ", ".join(self._measurer.panel.scorers),
            "every": self._every,
            "metric": self.rules.metric,
        }

    def close(self) -> str:
        """Let sinks send what they hold back, let go of the files; the run's summary."""
        for sink in self._sinks:
            if isinstance(sink, ClosableSink):
                try:
                    sink.close()
                except Exception as problem:
                    name = type(sink).__name__
                    self._complain(f"close {name}", f"{name} failed at the end of the run", problem)
        self._history.close()
        return messages.summary(
            self.curve, self.verdict, self.best, metric=self.rules.metric, output_dir=str(self.folder)
        )

    # ------------------------------------------------------------------ parts of it

    def _name_segment(self) -> None:
        """Points may be compared if what they depend on is equal; a change is written down."""
        facts = self._measurer.manifest(self.rules.metric)
        segment = segment_id(facts)
        if segment != self.segment or self._trained_on is not self._written_of:
            self.segment = segment
            try:
                facts = {**facts, "rules": asdict(self.rules), "every": self._every}
                if self._trained_on is not None:
                    facts["contamination"] = self._trained_on.as_dict()
                self._written_of = self._trained_on
                self._history.write_manifest(facts)
                write_texts(self.folder, self._measurer.prompts, self._measurer.references)
            except OSError as problem:
                self._complain("manifest", "what the run measures with could not be written", problem)

    def _judged_by(self) -> str:
        """Names what rewards of any prompt depend on: judges, sampling and seed."""
        facts = self._measurer.manifest(self.rules.metric)["comparable"]
        return segment_id({"comparable": {k: facts[k] for k in ("scorers", "sampling", "seed")}})

    def _point(self, step: int, measured: Measured) -> EvalPoint:
        return tables.point(
            step,
            measured.table,
            prompts=self._measurer.prompts,
            metric=self.rules.metric,
            expected=self._measurer.reference_rewards() if measured.table is not None else None,
            error=measured.error,
            skipped=measured.skipped,
            segment=self.segment,
            attempt=self._attempt,
            measured={**measured.facts, **self._judging.watch.facts(step, self.points)},
            weights=measured.weights,
            level=measured.level,
            stopped=measured.stopped,
        )

    def _news(self) -> tuple[Signal, ...]:
        """Signals that nobody was told of yet."""
        seen = [s for s in self.verdict.signals if s.name != "same_reward_model"]  # said when it is found
        new = tuple(s for s in seen if (s.name, s.about) not in self._told)
        self._told |= {(s.name, s.about) for s in new}
        return new

    def _show(self, point: EvalPoint, table: Table | None, before: Verdict) -> None:
        try:
            write_verdict(self.folder, self.verdict, self.points)
        except OSError as problem:
            self._complain("verdict file", "the verdict could not be written", problem)
        references = self._measurer.references
        update = Update(
            point=point,
            verdict=self.verdict,
            best=self.best,
            curve=self.curve,
            metric=self.rules.metric,
            changed=self.verdict.state != before.state,
            news=self._news(),
            prompts=tuple(self._measurer.prompts),
            table=table,
            references=references[0] if references else None,
            reference_rewards=self._reference_rewards(),
            output_dir=str(self.folder),
            run=self.facts(),
        )
        for sink in self._sinks:
            try:
                sink.show(update)
            except Exception as problem:
                name = type(sink).__name__
                self._complain(name, f"{name} failed at step {point.step}; training goes on", problem)

    def _reference_rewards(self) -> FloatArray | None:
        try:
            return self._measurer.reference_rewards()
        except Exception:  # shown for information only; the failure itself is in the point
            return None
