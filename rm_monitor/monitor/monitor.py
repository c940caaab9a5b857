"""`RewardMonitor`: the one object that remembers.

It wires the parts: when (schedule), answering and scoring on every rank (`Measurer`), and on rank 0 what is
recorded, judged, kept and shown (`Logbook`). What rank 0 decides is broadcast, so that every rank acts alike.
"""

from __future__ import annotations

import logging
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rm_monitor import messages, stats
from rm_monitor.checkpoints.initial import initial_checkpoint
from rm_monitor.curve import tables
from rm_monitor.errors import RanksLostError, RMMonitorError
from rm_monitor.evaluation.measurer import Measured, Measurer
from rm_monitor.evaluation.scorer_set import Panel
from rm_monitor.generators import load_generator
from rm_monitor.messages.failures import Complaints
from rm_monitor.monitor import inputs
from rm_monitor.monitor.config import MonitorConfig
from rm_monitor.monitor.overlap import Late, Overlap, Recipe
from rm_monitor.monitor.plan import Plan, Planner
from rm_monitor.monitor.recorder import Logbook
from rm_monitor.monitor.schedule import Schedule
from rm_monitor.monitor.shared import Decided, Known, Opened
from rm_monitor.prompts import PromptSet, load_prompts
from rm_monitor.prompts.conditions import segment_id
from rm_monitor.sinks import default_sinks, load_sinks
from rm_monitor.training.ranks import Ranks
from rm_monitor.training.unwrap import tokenizer_of
from rm_monitor.types import Best, EvalPoint, Generator, Sampling, Sink, Tolerance, Verdict
from rm_monitor.verdict.fresh import FreshAnswers, check_fresh
from rm_monitor.verdict.judging import Rules
from rm_monitor.verdict.signals.watch import Watch

if TYPE_CHECKING:
    from rm_monitor.monitor.callback import RewardMonitorCallback

__all__ = ["RewardMonitor"]

log = logging.getLogger("rm_monitor")

FOLDER = "_rm_monitor"  # the underscore keeps the Trainer's Hub push from publishing completions
EVERY_STEP = 2**53  # resume after it: nothing on the curve is superseded
SavesCheckpoint = Callable[[Path], Any]
_LOST = Plan(skipped="other processes did not come to agree earlier in this run")


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
        generator: How completions are made; None: in this process with the model being trained; a URL or a
            mapping: a server (docs/generation-servers.md).
        keep_best: Candidates for the best that stay on disk. More than one lets a later evaluation re-rank
            them.
        temperature: Divides margins inside the sigmoid; None is 1 on a logit scale.
        min_drop: Smallest fall of the pool score that is ever called degraded, as a share.
        tolerance: Fall that is healthy, as a share; ``"jitter"``: what checkpoints of this run differ by from
            one to the next counts as chance (``docs/statistics.md``).
        horizon: Evaluations the run will have; None: from the Trainer, or unknown.
        training_reward: What training optimises, where the trainer's logs do not tell: a hub id, a folder, a
            loaded model, a function, a fingerprint, or a list of these. If it is the monitor's own reward
            model you are warned: such a curve need not turn when quality does.
        kl: True: also log ``kl``, the divergence of the policy from the initial one in nats a token, for two
            more forward passes over the answers. A PEFT model is compared with its base, adapters off; of
            another model a copy is kept at step 0. Or the initial policy itself: a folder, hub id or model.
        confirm_on_warn: Held-out prompts, as `prompts` takes them, best as many: a warning is settled on
            them, at the same false-alarm rate and with a fall that is not exaggerated. They are answered at
            each new best and at the first two warnings of a run.
        max_overhead: Share of the training time that evaluations may take, such as 0.1; one that would take
            more is moved to the step at which it fits, loudly. None: no limit.
        early_stop: ``"decisive"``: once the alarm stands, a checkpoint that is decisively worse than the best
            is not asked all prompts: shown with its ``n`` and an interval that holds, never best, no evidence
            for the alarm (``docs/design/less-work.md``). One process only. None: evaluations are whole.
        overlap: True: all evaluations but the first of a run are made by a second process, of a copy of the
            weights, while training goes on; or the device it works on, such as ``"cuda:1"``. Same answers;
            points come late, at their right step (``docs/design/overlap.md``). One training process only.
        sharded_weights: For FSDP and ZeRO-3. ``gather``: every rank has whole weights while it answers;
        ``keep``:
            the sharded model answers, slower, and a rank that fails ends the job.

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
        generator: Generator | Mapping[str, Any] | str | None = None,
        keep_best: int = 1,
        temperature: float | None = None,
        min_drop: float = 0.02,
        tolerance: Tolerance = 0.0,
        horizon: int | None = None,
        training_reward: Any = None,
        kl: Any = None,
        confirm_on_warn: Any = None,
        max_overhead: float | None = None,
        early_stop: str | None = None,
        overlap: bool | str = False,
        sharded_weights: str = "gather",
    ) -> None:
        given = inputs.check(reward_model, prompts, references, metric=metric, on_error=on_error)
        if keep_best < 1:
            raise ValueError(f"`keep_best` is how many candidates stay on disk, at least 1, got {keep_best}")
        if sharded_weights not in ("gather", "keep"):
            raise ValueError(f"`sharded_weights` must be 'gather' or 'keep', got {sharded_weights!r}")
        self.schedule = every if isinstance(every, Schedule) else Schedule(every=every)
        self._complain = Complaints()
        saving: dict[str, Any] = {"max_overhead": max_overhead, "early_stop": early_stop, "seed": seed}
        self._planner = Planner(given.prompts, self.schedule, self._complain, **saving)
        panel: Panel | None = None
        if inputs.is_first_process():
            with _quietly():
                scorers = inputs.load_scorers(given.scorers, given.prompts)
            panel = Panel(scorers, tuple(given.prompts), temperature=temperature)
            metric = panel.headline(metric)
        self.prompts = given.prompts
        self.sampling = sampling or Sampling()
        self.output_dir = None if output_dir is None else Path(output_dir)
        self.metric = metric
        self.on_error = on_error
        self.scorer_names = tuple(given.scorers)
        self._measurer = Measurer(
            given.prompts,
            given.references,
            panel,
            sampling=self.sampling,
            seed=seed,
            kl=kl,
            generator=None if generator is None else load_generator(generator),
            keep_sharded=sharded_weights == "keep",
        )
        stats.Detector(  # a rule out of range is refused now, not at the second evaluation
            levels=(0.05, 0.20),
            horizon=horizon,
            min_drop=min_drop,
            tolerance=tolerance,
            confirm_on_warn=confirm_on_warn is not None,
        )
        self._rules = Rules(
            metric=metric,
            temperature=None if panel is None else panel.pool_temperature,
            seed=seed,
            min_drop=min_drop,
            tolerance=tolerance,
            horizon=horizon,
            keep_best=keep_best,
        )
        self._fresh_prompts: PromptSet | None = None
        if confirm_on_warn is not None:
            held_out = (
                confirm_on_warn if isinstance(confirm_on_warn, PromptSet) else load_prompts(confirm_on_warn)
            )
            self._fresh_prompts = check_fresh(held_out, given.prompts)
            if panel is not None and not hasattr(panel.scorers[panel.primary], "score"):
                raise ValueError(
                    "`confirm_on_warn` compares rewards: it needs a reward model, not a preference model"
                )
        self._watch: Watch | None = None
        if panel is not None:
            judge = given.scorers[panel.primary]
            self._watch = Watch(judge, panel.scorers[panel.primary], training_reward)
        self._given_sinks = None if report_to is None else load_sinks(report_to)
        self._overlap: Overlap | None = None
        if overlap:
            recipe = Recipe(
                scorers=given.scorers,
                prompts=given.prompts,
                sampling=self.sampling,
                seed=seed,
                temperature=temperature,
                kl=kl,
            )
            own = {"generator": generator, "confirm_on_warn": confirm_on_warn, "early_stop": early_stop}
            self._overlap = Overlap(recipe, overlap, without=own)
        self._came: list[EvalPoint] = []  # late, and not asked for yet
        self._known = Known()
        self._last_step: int | None = None
        self._open = False
        self._lost = False  # other processes did not come to agree: nothing is measured any more

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
        return self._known.curve

    @property
    def verdict(self) -> Verdict:
        """What the curve says now."""
        return self._known.verdict

    @property
    def best(self) -> Best | None:
        """The best checkpoint on disk; None before the first one is saved."""
        return self._known.best

    @property
    def scorers(self) -> Mapping[str, Any]:
        """The loaded judges by name, the primary first; only rank 0 has them."""
        return self._measurer.panel.scorers

    @property
    def pool_temperature(self) -> float | None:
        """Divides differences of rewards in the pool score; None: fitted to the first point's spread."""
        return self._rules.temperature

    @property
    def segment(self) -> str:
        """Name of the present segment: points with the same name may be compared."""
        return "" if self._known.book is None else self._known.book.segment

    @property
    def generator(self) -> Generator | None:
        """How completions are made; None: in this process with the model being trained."""
        return self._measurer.generator

    @property
    def needs_own_references(self) -> bool:
        """Whether the next evaluation's answers become the references."""
        return self._measurer.needs_references

    @property
    def folder(self) -> Path:
        """Where our files lie."""
        if self.output_dir is None:
            raise ValueError(
                "`output_dir` is needed outside a Trainer: RewardMonitor(..., output_dir='out') puts "
                "files into out/_rm_monitor/"
            )
        return self.output_dir / FOLDER

    def _repr_html_(self) -> str:
        """A card for notebooks: the verdict in words and the curve."""
        from rm_monitor.report.card import card  # noqa: PLC0415  only a notebook asks

        return card(self.curve, self.verdict, self.best, self.metric)

    def due(self, step: int) -> bool:
        """Whether the schedule asks for an evaluation at this step; costs microseconds when it does not."""
        return not self._lost and self._planner.due(step, self._last_step)

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
        if self._overlap is not None:
            self._overlap.collect(self._record_late)
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
        whatever_it_costs: bool = False,
    ) -> EvalPoint:
        """Judge the weights as they stand.

        Args:
            model: The model being trained; its training state is left as it was.
            tokenizer: Its tokenizer, or its processor; never changed.
            step: Optimizer step. The same step again replaces its point.
            checkpoint: Directory where these weights already lie, if they do.
            save: Called with a folder when this is the best so far: ``model.save_pretrained`` fits. What
                `overlap` finds later is written by the second process, with ``save_pretrained``.
            about_to_save: The caller will save these weights if they are the best, then call `saved`.
            whatever_it_costs: Also if it is over the budget.

        Returns:
            The point; with ``status="failed"`` and a reason if it could not be measured. With `overlap`, with
            ``status="pending"``, which is not on the curve: the real one comes with `collect`.

        Raises:
            Exception: Whatever went wrong, only if ``on_error="raise"``.
        """
        self.start()
        tokenizer = tokenizer_of(tokenizer)
        if step == 0 and checkpoint is None:
            checkpoint = self._initial(model)
        fresh = self._fresh_prompts
        where: dict[str, Any] = {"checkpoint": checkpoint, "save": save, "about_to_save": about_to_save}
        if fresh is not None:
            where["answer_fresh"] = lambda: self._measurer.rewards(fresh, model, tokenizer, step=step)
        overlap = self._overlap
        if overlap is not None and not overlap.begun:
            overlap.check(model, tokenizer)
        try:
            now: dict[str, Any] = {"model": model, "tokenizer": tokenizer, "always": whatever_it_costs}
            plan = (
                _LOST if self._lost else self._planner.decide(step, self._known.book, self._measurer, **now)
            )
            if overlap is not None and overlap.begun:
                return self._hand_over(overlap, plan, model, tokenizer, step=step, checkpoint=checkpoint)
            if plan.skipped:
                return self.record(Measured(table=None, skipped=plan.skipped), step=step, **where)
            with self._planner.budget.spending(step) as spending:
                measured = plan.known or self._measurer.measure(model, tokenizer, step=step, duel=plan.duel)
                point = self.record(replace(measured, weights=plan.weights), step=step, **where)
                spending.whole = point.status == "ok" and plan.known is None
            if overlap is not None and point.status == "ok":
                overlap.begin(self._measurer.references, self.folder)
            return point
        except RanksLostError as problem:
            self._lost = True
            self._complain("ranks", f"no evaluation at step {step}; training goes on", problem)
            return EvalPoint(step=step, status="failed", reason=str(problem))

    def collect(self, *, wait: bool = False) -> tuple[EvalPoint, ...]:
        """Record what the second process has found (`overlap`); nothing without one.

        The callback asks at every step, and so does `step`: it costs microseconds.

        Args:
            wait: Until nothing is outstanding.

        Returns:
            The points that came since the last call, in order of step.
        """
        if self._overlap is not None:
            self._overlap.collect(self._record_late, wait=wait)
        came, self._came = tuple(self._came), []
        return came

    def measure(self, model: Any = None, tokenizer: Any = None, *, step: int) -> Measured:
        """Answer and score with these weights; nothing is recorded. The first half of `evaluate`."""
        self.start()
        return self._measurer.measure(model, tokenizer, step=step)

    def record(
        self,
        measured: Measured,
        *,
        step: int,
        checkpoint: str | Path | None = None,
        save: SavesCheckpoint | None = None,
        about_to_save: bool = False,
        answer_fresh: Callable[[], Measured] | None = None,
    ) -> EvalPoint:
        """Put a measurement on the curve, judge, elect, show. The second half of `evaluate`."""
        self.start()
        self._last_step = step
        decided: Decided | None = None
        book, entered = self._known.book, None
        if book is not None:
            if checkpoint is not None:
                book.saved(step, Path(checkpoint))
            with _quietly():  # scores may be asked for again
                entered = book.enter(step, measured, about_to_save=about_to_save or save is not None)
        if answer_fresh is not None and self._known.ranks.broadcast(book is not None and book.wants_fresh):
            answers = answer_fresh()
            if book is not None:
                book.settle(answers)
        error: Exception | None = None
        if book is not None and entered is not None:
            with _quietly():  # sinks are other people's code
                book.show()
            point, error = entered
            text = "" if error is None else f"{type(error).__name__}: {error}"
            decided = Decided(point, book.verdict, book.best, text)
        decided = self._known.decide(decided)
        if save is not None and decided.best is not None and decided.best.step == step:
            self._save(step, save)
        elif self._known.book is not None and checkpoint is not None:
            self._known.book.keep()
        if decided.error and self.on_error == "raise":
            raise error or RMMonitorError(f"rank 0: {decided.error}")
        return decided.point

    def judge_once(self) -> EvalPoint:
        """Measure what the generator gives, without a model and without writing anything.

        Raises:
            Exception: Whatever went wrong.
        """
        measured = self._measurer.measure(None, None, step=0)
        if measured.error is not None:
            raise measured.error
        return tables.point(
            0,
            measured.table,
            prompts=self.prompts,
            metric=self.metric,
            expected=self._measurer.reference_rewards(),
            segment=segment_id(self._measurer.manifest(self.metric)),
            measured=measured.facts,
        )

    def saved(self, step: int, checkpoint: str | Path) -> None:
        """Tell where the checkpoint of a step lies; the best is linked before anything can delete it.

        Every rank must call it: what rank 0 finds is broadcast.
        """
        if not self._open or self._lost:
            return
        if self._known.book is not None:
            self._known.book.saved(step, Path(checkpoint))
            self._known.book.keep()
        try:
            self._known.share_best()
        except RanksLostError as problem:
            self._lost = True
            self._complain(
                "ranks", f"the best after step {step} is not known to all; training goes on", problem
            )

    def check(self, model: Any, tokenizer: Any) -> None:
        """Refuse, before training, prompts that leave this policy no room for an answer.

        Raises:
            ValueError: Which prompts, how long they are, and what would fit.
        """
        if self._measurer.generator is not None or model is None or tokenizer is None:
            return  # whoever answers instead knows its own limits
        from rm_monitor.generators.chat import check_prompts  # noqa: PLC0415  needed at the start alone

        check_prompts(list(self.prompts), tokenizer, model.config, self.sampling)

    def examine(self, dataset: Any, tokenizer: Any = None) -> None:
        """Say whether the prompts and the references are in the training set; rank 0 alone looks.

        Args:
            dataset: Rows of texts, conversations, TRL's columns or token ids; what can be read only once is
                left alone. At most 20,000 rows and 10 seconds are spent on it.
            tokenizer: Decodes token ids.
        """
        self.start()
        if self._known.book is not None and (said := self._known.book.examine(dataset, tokenizer)):
            _say(f"rm_monitor: {said}")

    def note(self, step: int, logs: Mapping[str, Any], arguments: Any = None) -> None:
        """Read a record of the trainer's logs: the training reward, and what its reward models are called.

        The callback does this. A hand-written loop may: ``monitor.note(step, {"reward": mean_reward})``.

        Args:
            step: Optimizer step.
            logs: Name -> number, under the names that TRL uses
                (`rm_monitor.verdict.signals.training_reward.KEYS`).
            arguments: The trainer's; its ``reward_model_path`` is read, if it has one.
        """
        if self._watch is not None:
            same = self._watch.note(step, logs, arguments)
            if same is not None:
                _say(f"rm_monitor: {messages.note(same, metric=self.metric)}")

    def callback(self, **options: Any) -> RewardMonitorCallback:
        """The Hugging Face callback around this monitor."""
        from rm_monitor.monitor.callback import RewardMonitorCallback  # noqa: PLC0415  needs transformers

        return RewardMonitorCallback(self, **options)

    def close(self) -> None:
        """Wait for what is outstanding, print the summary and let go of files. Safe to call twice."""
        if self._open and self._overlap is not None:
            self.collect(wait=True)
            self._overlap.close()
        if self._open and self._known.book is not None:
            _say(self._known.book.close())
        self._open = False

    # ------------------------------------------------------------------ start

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
        self._known.ranks = Ranks.current()
        self._planner.check(self._known.ranks)
        if self._overlap is not None:
            self._overlap.check_ranks(self._known.ranks.size)
        self._measurer.start(self._known.ranks, folder)
        self._rules = replace(self._rules, horizon=self._rules.horizon or horizon)
        opened: Opened | None = None
        error: Exception | None = None
        try:
            if self._known.ranks.is_first:
                if resume_step is not None:
                    self._measurer.resume()
                if self._given_sinks is None:
                    self._given_sinks = default_sinks(default_report_to or ())
                self._known.book = self._open_logbook(resume_step)
                _say(messages.opening(self._known.book.facts()))
                if self._watch is not None and self._watch.same is not None:
                    _say(f"rm_monitor: {messages.note(self._watch.same, metric=self.metric)}")
                opened = Opened(tuple(self._known.book.points), self.verdict, self.best, self.metric)
        except Exception as problem:
            error = problem
        found = self._known.open(opened, error)
        self.metric, self._last_step = found.metric, found.curve[-1].step if found.curve else None
        self._open = True

    def prepare(self, model: Any) -> None:
        """Say how this model will answer; called before training, so that what cannot work is refused there.

        Raises:
            UnsupportedSetupError: If the distributed set-up cannot be served; the message has the way out.
        """
        setup = self._measurer.prepare(model)
        if self._overlap is not None:
            self._overlap.check(model)
        if self._open and self._known.ranks.is_first and (setup.collective or setup.compiled):
            _say(f"rm_monitor: answers come from {setup}")

    def _open_logbook(self, resume_step: int | None) -> Logbook:
        logbook = Logbook(
            self.folder,
            self._measurer,
            self._rules,
            sinks=self._given_sinks or (),
            complain=self._complain,
            every=str(self.schedule),
            watch=self._watch,
            fresh=self._fresh_answers(),
        )
        logbook.open(resume_step, self.folder.parent)
        if logbook.points:
            self._last_step = logbook.points[-1].step
        return logbook

    def _fresh_answers(self) -> FreshAnswers | None:
        if self._fresh_prompts is None:
            return None
        return FreshAnswers(
            self.folder,
            self._fresh_prompts,
            temperature=self._rules.temperature or 1.0,
            tolerance=0.0 if self._rules.tolerance == "jitter" else self._rules.tolerance,  # refused above
        )

    def start_reading(self) -> None:
        """Take part in measuring for another process: references are read, nothing is written."""
        self._known.ranks = Ranks.alone()
        self._measurer.start(self._known.ranks, self.folder)
        self._measurer.resume()
        self._open = True

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Hold the run's files just long enough to record: several processes can share a run by turns.

        For a monitor that was started with `start_reading`. The curve is read anew, so each process
        judges with what all of them recorded.

        Raises:
            StoreLockedError: If it is another process's turn.
        """
        if self._given_sinks is None:
            self._given_sinks = default_sinks()
        self._measurer.resume()
        self._known.book = self._open_logbook(EVERY_STEP)
        try:
            yield
        finally:
            self._known.book.close()

    # ------------------------------------------------------------------ a second process

    @property
    def overlaps(self) -> bool:
        """Whether points come late, from a second process."""
        return self._overlap is not None

    def _hand_over(
        self, overlap: Overlap, plan: Plan, model: Any, tokenizer: Any, *, step: int, checkpoint: Any
    ) -> EvalPoint:
        """Let the second process judge a copy of these weights; `collect` records what it finds."""
        self._last_step = step
        with self._planner.budget.spending(step):  # of the training's time: a copy, and waiting for room
            overlap.hand_over(
                plan,
                model,
                tokenizer,
                step=step,
                checkpoint=None if checkpoint is None else Path(checkpoint),
                record=self._record_late,
            )
        return EvalPoint(step=step, status="pending", reason="being judged in a second process")

    def _record_late(self, late: Late) -> None:
        """Put a result on the curve; the weights of a new best are written by whoever has them."""
        last, book = self._last_step, self._known.book
        where = late.checkpoint
        if (where is None or not where.is_dir()) and book is not None:
            where = book.path(late.step)
        save = (
            self._overlap.save if self._overlap is not None and late.has_weights and where is None else None
        )
        try:
            self._came.append(self.record(late.measured, step=late.step, checkpoint=where, save=save))
        finally:
            self._last_step = last  # evaluations are due by what was asked, not by what came back

    # ------------------------------------------------------------------ small things

    def _initial(self, model: Any) -> Path | None:
        """Where the weights that training starts from lie; None if that cannot be told."""
        try:
            return initial_checkpoint(model)
        except Exception as problem:
            self._complain("initial", "the initial weights were not found on disk", problem)
            return None

    def _save(self, step: int, save: SavesCheckpoint) -> None:
        """Let the user's function write the new best, on every rank, then keep it."""
        folder = self.folder / "saved" / f"step-{step}"
        error: Exception | None = None
        try:
            if self._known.ranks.is_first:
                folder.mkdir(parents=True, exist_ok=True)
            save(folder)
        except Exception as problem:
            error = problem
            self._complain("save", f"`save` failed at step {step}", problem)
        self._known.ranks.agree(None, error)  # every rank has written before rank 0 links
        self.saved(step, folder)
        if self._known.ranks.is_first:  # linked by now; a link costs nothing, a second copy would
            shutil.rmtree(folder.parent, ignore_errors=True)


def _quietly() -> AbstractContextManager[None]:
    """Random states are put back; without torch in this process there is no training to disturb."""
    if "torch" not in sys.modules:
        return nullcontext()
    from rm_monitor.training.undisturbed import undisturbed  # noqa: PLC0415

    return undisturbed()


def _say(text: str) -> None:
    from rm_monitor.sinks.console import say  # noqa: PLC0415  a sink pays for itself only

    say(text)
