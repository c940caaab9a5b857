"""`RewardMonitor`: the one object that remembers.

It wires the parts: when (schedule), answering (generator), judging (panel), remembering (history),
what it means (verdict), which checkpoint (selection), showing (sinks). Everything it decides is a pure
function of
what it has on disk, so a resumed run decides as the unbroken one would have.
"""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rm_monitor import evaluate, inputs, words
from rm_monitor.config import MonitorConfig
from rm_monitor.errors import GenerationError
from rm_monitor.manifest import manifest, segment_id
from rm_monitor.panel import Panel
from rm_monitor.progress import SlowBar
from rm_monitor.ranks import Ranks
from rm_monitor.references import load_references, save_references
from rm_monitor.schedule import Schedule
from rm_monitor.selection import Selection
from rm_monitor.sinks import load_sinks
from rm_monitor.stores.history import History
from rm_monitor.types import (
    Best,
    Completion,
    EvalPoint,
    Generator,
    ReferenceSet,
    Sampling,
    Sink,
    Table,
    Update,
    Verdict,
)
from rm_monitor.verdict import Memory, judge

if TYPE_CHECKING:
    from rm_monitor.callback import RewardMonitorCallback

__all__ = ["Measured", "RewardMonitor"]

log = logging.getLogger("rm_monitor")

FOLDER = "_rm_monitor"  # the underscore keeps the Trainer's Hub push from publishing completions
SavesCheckpoint = Callable[[Path], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What answering and scoring gave.

    Attributes:
        table: Completions and values; None if it failed, and on every rank but the first.
        error: Why it failed.
        facts: ``seconds``, ``seconds_generate``, ``seconds_score``, ``tokens``, ``tokens_per_second``.
    """

    table: Table | None
    error: Exception | None = None
    facts: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Decided:
    """What rank 0 found; broadcast, so that every rank decides alike."""

    point: EvalPoint
    verdict: Verdict
    best: Best | None
    metric: str
    error: BaseException | None = None


class RewardMonitor:
    """Answers fixed prompts with the current checkpoint, lets a frozen reward model judge, keeps the best.

    Args:
        reward_model: Hub id, folder, loaded model, `Scorer`, `PreferenceScorer`, a function
            ``f(prompts, completions) -> scores``, or ``{name: any of these}``; the first is primary.
        prompts: Path, list, ``datasets.Dataset`` or ``PromptSet``; see `load_prompts`.
        references: What completions are compared with. None: the initial policy's own answers, generated
            once and kept; a column of `prompts`; a path; completions; or ``{name: any of these}``.
        every: Evaluate each so many steps; None: with each save or evaluation of the Trainer; or a
            `Schedule`.
        output_dir: Files go to ``<output_dir>/_rm_monitor/``; None: the Trainer's.
        sampling: How completions are drawn.
        metric: The headline: ``win_prob``, ``win_rate`` or ``reward``. Without a logit scale there is no
            win probability, and the headline is the win rate.
        report_to: None: what the Trainer reports to (or ``wandb.run`` if one is open); names; or `Sink`
            objects.
        seed: Of sampling and of every bootstrap. Completions do not depend on any global random state.
        on_error: ``warn``: a failed evaluation is a gap in the curve and training goes on; ``raise``.
        generator: How completions are made; None: in this process with the model being trained.
        keep_best: Candidates for the best that stay on disk. More than one lets a later evaluation re-rank
            them.
        temperature: Divides margins inside the sigmoid; None is 1 on a logit scale.
        min_drop: Smallest fall of the pool score that is ever called degraded, as a share.
        tolerance: Fall that is tolerated as checkpoint-to-checkpoint jitter, as a share.
        horizon: Evaluations the run will have; None: from the Trainer, or unknown.

    Raises:
        ValueError: If an argument breaks a rule; the message names it, the rule, the value and the way out.

    Example:
        >>> monitor = RewardMonitor(
        ...     lambda prompts, completions: [float(len(c)) for c in completions],
        ...     ["Say hello.", "Say goodbye."],
        ...     references=["Hello!", "Bye!"],
        ...     every=100,
        ... )
        >>> monitor.due(0), monitor.due(50), monitor.due(100)
        (True, False, True)
    """

    def __init__(
        self,
        reward_model: Any,
        prompts: Any,
        references: Any = None,
        *,
        every: int | Schedule | None = None,
        output_dir: str | Path | None = None,
        sampling: Sampling | None = None,
        metric: str = "win_prob",
        report_to: str | Sequence[str | Sink] | Sink | None = None,
        seed: int = 0,
        on_error: str = "warn",
        generator: Generator | None = None,
        keep_best: int = 1,
        temperature: float | None = None,
        min_drop: float = 0.02,
        tolerance: float = 0.0,
        horizon: int | None = None,
    ) -> None:
        given = inputs.check(reward_model, prompts, references, metric=metric, on_error=on_error)
        if keep_best < 1:
            raise ValueError(f"`keep_best` is how many candidates stay on disk, at least 1, got {keep_best}")
        self.prompts = given.prompts
        self.sampling = sampling or Sampling()
        self.schedule = every if isinstance(every, Schedule) else Schedule(every=every)
        self.output_dir = None if output_dir is None else Path(output_dir)
        self.seed = seed
        self.horizon = horizon
        self.on_error = on_error
        self._references = given.references
        self._own_references = not given.references
        self._given_sinks = None if report_to is None else load_sinks(report_to)
        self._generator = generator
        self._keep_best = keep_best
        self._min_drop, self._tolerance = min_drop, tolerance
        self._panel: Panel | None = None
        if inputs.is_first_process():
            scorers = inputs.load_scorers(given.scorers)
            self._panel = Panel(scorers, tuple(self.prompts), temperature=temperature)
        self.scorer_names = tuple(given.scorers)
        self.metric = self._headline(metric)
        self._curve: list[EvalPoint] = []
        self._verdict = Verdict()
        self._best: Best | None = None
        self._last_step: int | None = None
        self._memory = Memory()
        self._open = False
        self._complained: set[str] = set()

    # ------------------------------------------------------------------ what a user asks

    @classmethod
    def from_config(
        cls, config: MonitorConfig | Mapping[str, Any] | str | Path, **objects: Any
    ) -> RewardMonitor:
        """Build from a `MonitorConfig`, a mapping, or the path of a YAML file.

        Args:
            config: What can be written down.
            **objects: Arguments that cannot, such as ``generator``; they win over the config.
        """
        if isinstance(config, (str, Path)):
            config = MonitorConfig.from_yaml(config)
        elif not isinstance(config, MonitorConfig):
            config = MonitorConfig.from_mapping(dict(config))
        written = {name: getattr(config, name) for name in config.__dataclass_fields__}
        return cls(**{**written, **objects})

    @property
    def curve(self) -> tuple[EvalPoint, ...]:
        """Every point so far, in order of step; ``checkpoint`` says where its weights lie now."""
        if not self._open or not self._ranks.is_first:
            return tuple(self._curve)
        paths = {p.step: self._selection.path(p.step) for p in self._curve}
        return tuple(
            replace(p, checkpoint=None if (path := paths[p.step]) is None else str(path)) for p in self._curve
        )

    @property
    def verdict(self) -> Verdict:
        """What the curve says now."""
        return self._verdict

    @property
    def best(self) -> Best | None:
        """The best checkpoint on disk; None before the first one is saved."""
        return self._best

    @property
    def segment(self) -> str:
        """Name of the present segment: points with the same name may be compared."""
        return self._segment

    @property
    def needs_own_references(self) -> bool:
        """Whether the next evaluation's answers become the references."""
        return self._own_references and not self._references

    def due(self, step: int) -> bool:
        """Whether the schedule asks for an evaluation at this step; costs microseconds when it does not."""
        return self.schedule.due(step, self._last_step)

    def step(
        self,
        step: int,
        model: Any = None,
        tokenizer: Any = None,
        *,
        checkpoint: str | Path | None = None,
        save: SavesCheckpoint | None = None,
    ) -> EvalPoint | None:
        """Evaluate if due: one call a training step, for hand-written loops. See `evaluate`."""
        if not self.due(step):
            return None
        return self.evaluate(model, tokenizer, step=step, checkpoint=checkpoint, save=save)

    def evaluate(
        self,
        model: Any = None,
        tokenizer: Any = None,
        *,
        step: int,
        checkpoint: str | Path | None = None,
        save: SavesCheckpoint | None = None,
        about_to_save: bool = False,
    ) -> EvalPoint:
        """Judge the weights as they stand.

        Args:
            model: The model being trained; its training state is left as it was.
            tokenizer: Its tokenizer; never changed.
            step: Optimizer step. The same step again replaces its point.
            checkpoint: Directory where these weights already lie, if they do.
            save: Called with a folder when this is the best so far: ``model.save_pretrained`` fits.
            about_to_save: The caller will save these weights if they are the best, then call `saved`.

        Returns:
            The point; with ``status="failed"`` and a reason if it could not be measured.

        Raises:
            Exception: Whatever went wrong, only if ``on_error="raise"``.
        """
        measured = self.measure(model, tokenizer, step=step)
        return self.record(measured, step=step, checkpoint=checkpoint, save=save, about_to_save=about_to_save)

    def measure(self, model: Any = None, tokenizer: Any = None, *, step: int) -> Measured:
        """Answer and score with these weights; nothing is recorded. The first half of `evaluate`."""
        self.start()
        began = time.monotonic()
        facts: dict[str, float] = {}
        table: Table | None = None
        error: Exception | None = None
        try:
            table = self._measure(model, tokenizer, step, facts)
        except Exception as problem:
            error = problem
        facts["seconds"] = time.monotonic() - began
        return Measured(table=table, error=error, facts=facts)

    def record(
        self,
        measured: Measured,
        *,
        step: int,
        checkpoint: str | Path | None = None,
        save: SavesCheckpoint | None = None,
        about_to_save: bool = False,
    ) -> EvalPoint:
        """Put a measurement on the curve, judge, elect, show. The second half of `evaluate`."""
        self.start()
        self._last_step = step
        if checkpoint is not None and self._ranks.is_first:
            self._selection.saved(step, Path(checkpoint))
        decided: _Decided | None = None
        if self._ranks.is_first:
            saving = about_to_save or save is not None
            decided = self._decide(step, measured, about_to_save=step if saving else None)
        decided = self._ranks.broadcast(decided)
        self._remember(decided)
        if save is not None and decided.best is not None and decided.best.step == step:
            self._save(step, save)
        elif self._ranks.is_first and checkpoint is not None:
            self._elect()
        if decided.error is not None and self.on_error == "raise":
            raise decided.error
        return decided.point

    def judge_once(self) -> EvalPoint:
        """Measure what the generator gives, without a model and without writing anything.

        Raises:
            Exception: Whatever went wrong.
        """
        self._ranks = Ranks.alone()
        self._open, self._attempt = True, 0
        assert self._panel is not None
        self._segment = segment_id(self._manifest())
        measured = self.measure(step=0)
        self._open = False
        if measured.error is not None:
            raise measured.error
        return self._point(0, measured)

    def saved(self, step: int, checkpoint: str | Path) -> None:
        """Tell where the checkpoint of a step lies; the best is linked before anything can delete it.

        Every rank must call it: what rank 0 finds is broadcast.
        """
        if not self._open:
            return
        if self._ranks.is_first:
            self._selection.saved(step, Path(checkpoint))
            self._elect()
        self._best = self._ranks.broadcast(self._best)

    def callback(self, **options: Any) -> RewardMonitorCallback:
        """The Hugging Face callback around this monitor."""
        from rm_monitor.callback import RewardMonitorCallback  # noqa: PLC0415  needs transformers

        return RewardMonitorCallback(self, **options)

    def close(self) -> None:
        """Print the summary and let go of files. Safe to call twice."""
        if not self._open:
            return
        if self._ranks.is_first:
            self._say(
                words.summary(
                    self.curve, self._verdict, self._best, metric=self.metric, output_dir=str(self.folder)
                )
            )
            self._history.close()
        self._open = False

    # ------------------------------------------------------------------ start and resume

    @property
    def folder(self) -> Path:
        """Where our files lie."""
        if self.output_dir is None:
            raise ValueError(
                "`output_dir` is needed outside a Trainer: RewardMonitor(..., output_dir='out') puts "
                "files into out/_rm_monitor/"
            )
        return self.output_dir / FOLDER

    def start(
        self,
        *,
        resume_step: int | None = None,
        default_output_dir: str | Path | None = None,
        default_report_to: Sequence[str] | None = None,
        horizon: int | None = None,
    ) -> None:
        """Open the files and go on where an earlier process stopped; does nothing when already started.

        Args:
            resume_step: Step the training resumes from; None: a fresh run, earlier points are history.
            default_output_dir: Used when the monitor was built without one.
            default_report_to: Used when the monitor was built without ``report_to``.
            horizon: Evaluations expected, if the monitor was built without.
        """
        if self._open:
            return
        if self.output_dir is None and default_output_dir is not None:
            self.output_dir = Path(default_output_dir)
        folder = self.folder
        self._ranks = Ranks.current()
        self.horizon = self.horizon or horizon
        self._sinks: list[Sink] = []
        if self._ranks.is_first:
            folder.mkdir(parents=True, exist_ok=True)
            self._history = History(folder)
            self._attempt = self._history.begin(resume_step)
            self._selection = Selection(
                folder,
                keep=self._keep_best,
                metric=self.metric,
                temperature=self._pool_temperature,
                seed=self.seed,
            )
            self._sinks = load_sinks(default_report_to) if self._given_sinks is None else self._given_sinks
            if resume_step is not None:
                self._resume()
            self._segment = self._write_manifest()
        self._open = True
        if self._ranks.is_first:
            self._say(words.opening(self._facts()))

    def start_reading(self) -> None:
        """Take part in measuring for another process: references are read, nothing is written."""
        self._ranks = Ranks.alone()
        if self._own_references:
            kept = load_references(self.folder / "references", "initial", self.prompts)
            self._references = () if kept is None else (kept,)
        self._open = True

    def _resume(self) -> None:
        """Continue the curve of the process before: its points, its references, its best."""
        self._curve = self._history.points()
        self._selection.resume(self.output_dir or Path(), {p.step for p in self._curve})
        if self._own_references:
            kept = load_references(self.folder / "references", "initial", self.prompts)
            self._references = () if kept is None else (kept,)
        if self._curve:
            self._last_step = self._curve[-1].step
            self._verdict = self._judged()
            self._elect()

    def _write_manifest(self) -> str:
        facts = self._manifest()
        self._history.write_manifest(facts)
        return segment_id(facts)

    def _manifest(self) -> dict[str, Any]:
        assert self._panel is not None
        return manifest(
            prompts=self.prompts,
            references=self._references,
            scorers=self._panel.scorers,
            sampling=self.sampling,
            seed=self.seed,
            metric=self.metric,
        )

    # ------------------------------------------------------------------ one evaluation

    def _measure(self, model: Any, tokenizer: Any, step: int, measured: dict[str, float]) -> Table | None:
        """Answers and their values; None on every rank but the first."""
        from rm_monitor.undisturbed import undisturbed  # noqa: PLC0415  needs torch

        with undisturbed(model, tokenizer):
            began = time.monotonic()
            completions = self._answer(model, tokenizer)
            measured["seconds_generate"] = time.monotonic() - began
            if not self._ranks.is_first:
                return None
            tokens = sum(max(c.n_tokens, 0) for row in completions for c in row)
            measured["tokens"] = float(tokens)
            if tokens:
                measured["tokens_per_second"] = tokens / max(measured["seconds_generate"], 1e-9)
            if self.needs_own_references:
                self._keep_own_references(completions, step)
            assert self._panel is not None
            began = time.monotonic()
            values = self._panel.values(completions, self._references)
            measured["seconds_score"] = time.monotonic() - began
        return Table(
            prompt_ids=tuple(p.id for p in self.prompts),
            completions=tuple(tuple(row) for row in completions),
            values=values,
        )

    def _answer(self, model: Any, tokenizer: Any) -> list[list[Completion]]:
        """``n`` lists of ``k`` completions; each rank answers its share, rank 0 gets them all."""
        k = self.sampling.samples_per_prompt
        share = self._ranks.share(list(self.prompts))
        mine: list[tuple[int, list[Completion]]] | None = None
        error: Exception | None = None
        bar = SlowBar("answers")
        try:
            if self._generator is None:
                from rm_monitor.generators import load_generator  # noqa: PLC0415  needs torch

                self._generator = load_generator()
            answers = self._generator.generate(
                [prompt for _, prompt in share],
                self.sampling,
                seed=self.seed,
                model=model,
                tokenizer=tokenizer,
                progress=bar if self._ranks.is_first else None,
            )
            if len(answers) != len(share) * k:
                raise GenerationError(
                    f"the generator gave {len(answers)} completions for {len(share)} prompts x {k} samples"
                )
            mine = [(i, answers[j * k : (j + 1) * k]) for j, (i, _) in enumerate(share)]
        except Exception as problem:
            error = problem
        finally:
            bar.close()
        payloads, errors = self._ranks.agree(mine, error)
        if error is not None:
            raise error
        if errors:
            raise GenerationError("; ".join(f"rank {rank}: {text}" for rank, text in errors.items()))
        rows = dict(pair for payload in payloads if payload for pair in payload)
        return [rows[i] for i in sorted(rows)]

    def _keep_own_references(self, completions: Sequence[Sequence[Completion]], step: int) -> None:
        source = "the initial policy" if step == 0 else f"the policy at step {step}"
        if step != 0:
            self._say(
                f"rm_monitor: no answers of the initial policy are kept; {source} becomes the reference"
            )
        own = ReferenceSet(
            name="initial", completions=tuple(replace(row[0], sample=0) for row in completions), source=source
        )
        save_references(self.folder / "references", own, self.prompts)
        self._references = (own,)
        self._segment = self._write_manifest()

    # ------------------------------------------------------------------ what it means (rank 0)

    def _decide(self, step: int, measured: Measured, *, about_to_save: int | None) -> _Decided:
        """Record, judge, elect, show. Nothing in here may stop training."""
        error, table = measured.error, measured.table
        try:
            point = self._point(step, measured)
        except Exception as problem:
            error, table = problem, None
            point = self._point(step, Measured(table=None, error=problem, facts=measured.facts))
        if error is not None:
            self._complain("evaluation", f"evaluation at step {step} failed; training goes on", error)
        before = self._verdict
        self._curve = sorted([p for p in self._curve if p.step != step] + [point], key=lambda p: p.step)
        try:
            self._history.append(point, table)
        except Exception as problem:
            self._complain("history", f"step {step} could not be written; it is kept in memory", problem)
        try:
            self._verdict = self._judged()
            self._best = self._selection.elect(self._curve, about_to_save=about_to_save)
        except Exception as problem:
            self._complain("verdict", f"no verdict at step {step}", problem)
            error = error or problem
        self._show(point, table, before)
        return _Decided(point, self._verdict, self._best, self.metric, error)

    def _point(self, step: int, measured: Measured) -> EvalPoint:
        table, error = measured.table, measured.error
        base = EvalPoint(
            step=step, segment=self._segment, measured=dict(measured.facts), attempt=self._attempt
        )
        if table is None:
            reason = "no reason known" if error is None else f"{type(error).__name__}: {error}"
            return replace(base, status="failed", reason=reason[:2000])
        values = evaluate.per_prompt(table)
        assert self._panel is not None
        expected = self._panel.expected(self._references)
        status, reason = evaluate.status_of(
            values.get(self.metric), None if expected is None else ~np.isnan(expected)
        )
        if status == "failed":
            return replace(base, status=status, reason=reason)
        metrics = evaluate.summarise(values, self.prompts)
        return replace(
            base,
            metrics=metrics,
            values=values,
            prompt_ids=table.prompt_ids,
            status=status,
            reason=reason,
        )

    def _judged(self) -> Verdict:
        verdict = judge(
            self._curve,
            metric=self.metric,
            horizon=self.horizon,
            temperature=self._pool_temperature,
            seed=self.seed,
            min_drop=self._min_drop,
            tolerance=self._tolerance,
            clusters=evaluate.clusters(self.prompts),
            memory=self._memory,
        )
        return replace(verdict, reason=words.reason(verdict, metric=self.metric))

    def _show(self, point: EvalPoint, table: Table | None, before: Verdict) -> None:
        update = Update(
            point=point,
            verdict=self._verdict,
            best=self._best,
            curve=self.curve,
            metric=self.metric,
            changed=self._verdict.state != before.state,
            prompts=tuple(self.prompts),
            table=table,
            references=self._references[0] if self._references else None,
            reference_rewards=self._reference_rewards(),
            output_dir=str(self.folder),
            run=self._facts(),
        )
        for sink in self._sinks:
            try:
                sink.show(update)
            except Exception as problem:
                name = type(sink).__name__
                self._complain(name, f"{name} failed at step {point.step}; training goes on", problem)

    # ------------------------------------------------------------------ small things

    def _elect(self) -> None:
        """Link what must stay and mark the best, without ever stopping training."""
        try:
            self._best = self._selection.keep(self._curve)
        except Exception as problem:
            self._complain("checkpoints", "the best checkpoint could not be kept", problem)

    def _save(self, step: int, save: SavesCheckpoint) -> None:
        """Let the user's function write the new best, on every rank, then keep it."""
        folder = self.folder / "saved" / f"step-{step}"
        error: Exception | None = None
        try:
            if self._ranks.is_first:
                folder.mkdir(parents=True, exist_ok=True)
            save(folder)
        except Exception as problem:
            error = problem
            self._complain("save", f"`save` failed at step {step}", problem)
        self._ranks.agree(None, error)  # every rank has written before rank 0 links
        self.saved(step, folder)
        if self._ranks.is_first:  # linked by now; a link costs nothing, a second copy would
            shutil.rmtree(folder.parent, ignore_errors=True)

    def _remember(self, decided: _Decided) -> None:
        """Take over what rank 0 decided; on rank 0 it is there already."""
        if not self._ranks.is_first:
            self._curve = [p for p in self._curve if p.step != decided.point.step] + [decided.point]
            self._verdict, self._best, self.metric = decided.verdict, decided.best, decided.metric

    def _headline(self, metric: str) -> str:
        if self._panel is None:  # not rank 0: only the name is needed, and rank 0 decides
            return metric
        if metric == "win_prob" and not self._panel.has_probability:
            log.warning(
                "reward model %r has no logit scale, so no win probability: the headline is the win rate. "
                "Pass temperature= if its score differences are known to be on a scale.",
                self._panel.primary,
            )
            return "win_rate"
        if metric == "reward" and not hasattr(self._panel.scorers[self._panel.primary], "score"):
            raise ValueError(
                "`metric` 'reward' needs a reward model; a preference model gives only "
                "'win_prob' and 'win_rate'"
            )
        return metric

    @property
    def _pool_temperature(self) -> float | None:
        """None where rewards are not on a logit scale: it is then fitted to the first point's spread."""
        assert self._panel is not None
        return self._panel.temperature or (1.0 if self._panel.has_probability else None)

    def _reference_rewards(self) -> Any:
        try:
            assert self._panel is not None
            return self._panel.expected(self._references)
        except Exception:  # shown for information only; the failure itself is in the point
            return None

    def _facts(self) -> dict[str, str]:
        references = ", ".join(r.name for r in self._references) or "the initial policy's own answers"
        return {
            "prompts": str(len(self.prompts)),
            "references": references,
            "reward_model": ", ".join(self.scorer_names),
            "every": str(self.schedule),
            "metric": self.metric,
        }

    def _say(self, text: str) -> None:
        from rm_monitor.sinks.console import say  # noqa: PLC0415

        say(text)

    def _complain(self, key: str, message: str, problem: BaseException) -> None:
        """Loud each time, with a traceback the first time."""
        first = key not in self._complained
        self._complained.add(key)
        log.warning(
            "rm_monitor: %s (%s: %s)",
            message,
            type(problem).__name__,
            problem,
            exc_info=problem if first else None,
        )
