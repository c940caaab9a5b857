"""`RewardMonitor`: settings and loaded judges; it holds at most one open `Run`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from rm_monitor.curve.curve import Curve
from rm_monitor.monitor.border import inside
from rm_monitor.monitor.config import MonitorConfig
from rm_monitor.monitor.copying import Copied
from rm_monitor.monitor.loop import goes_back, resumes_from
from rm_monitor.monitor.parts import Parts
from rm_monitor.monitor.run import Run
from rm_monitor.monitor.saving import SavesCheckpoint
from rm_monitor.monitor.settings import Settings, check
from rm_monitor.types import Alarm, Best, EvalPoint, Generator, Sampling, Sink, Verdict

__all__ = ["RewardMonitor"]


class RewardMonitor(Copied):
    """Answers fixed prompts with the current checkpoint, lets a frozen reward model judge, keeps the best.

    Args:
        reward_model: Hub id, folder, loaded model, `Scorer`, `PreferenceScorer`, a function
            ``f(prompts, completions) -> scores``, a mapping of `load_scorer`'s options with ``source``, or
            ``{name: any of these}``; the first is primary.
        prompts: Path, list, ``datasets.Dataset``, data frame or ``PromptSet``; see `load_prompts`.
        references: What completions are compared with. None: the initial policy's own answers, generated
            once and kept; a column of `prompts`; a path; completions; or ``{name: any of these}``.
        every: Evaluate each so many steps; None: with each save or evaluation of the Trainer; or
            ``Schedule(every=200, max_overhead=0.1)``, which caps what evaluations may cost.
        sampling: How completions are drawn: `Sampling`, or a mapping of its settings.
        metric: The headline: ``win_prob``, ``win_rate`` or ``reward``. Without a logit scale there is no
            win probability, and the headline is the win rate.
        alarm: By what the curve is judged: `Alarm`, or a mapping of its settings.
        keep_best: Candidates for the best that stay on disk. More than one lets a later evaluation re-rank
            them.
        output_dir: Files go to ``<output_dir>/_rm_monitor/``; None: the Trainer's.
        report_to: None: what the Trainer reports to (or ``wandb.run`` if one is open); names; or `Sink`
            objects.
        name: Of this monitor, where one trainer has several: each has its folder, its keys
            ``rm_monitor/<name>/...`` and ``eval_rm_<name>_...``, its best.
        prompt_format: How prompts become what the policy is asked: None, by its chat template; ``"raw"``, a
            format string with ``{prompt}`` or several, a Jinja template; ``"as-trained"``, as found in the
            training rows; or a mapping with ``format``, ``chat_template_kwargs``, ``tools``, ``system``.
        generator: How completions are made; None: in this process with the model being trained; ``"vllm"``:
            by vLLM, in this process too; a URL or a mapping: a server (docs/generation-servers.md);
            ``{"sharded_weights": "keep"}``: a model that FSDP or ZeRO-3 spread answers as it is, slower, a
            rank that fails ends the job; by default (``"gather"``) every rank has whole weights meanwhile.
        kl: True: also log ``kl``, the divergence from the initial policy in nats a token, for two forward
            passes more; or the initial policy itself: a folder, hub id or model.
        overlap: True: all evaluations but the first of a run are made by a second process, of a copy of the
            weights, while training goes on; or the device it works on, such as ``"cuda:1"``. Same answers;
            points come late, at their right step (``docs/design/overlap.md``). One training process only.
        seed: Of sampling and of every bootstrap. Completions do not depend on any global random state.
        on_error: ``warn``: the first evaluation of a run must succeed, a later failure is a gap in the curve
            and training goes on; ``raise``: each failure is raised; ``start-anyway``: none is.

    Raises:
        ValueError: If an argument breaks a rule; the message names it, the rule, the value and the way out.

    Example:
        >>> import tempfile
        >>> monitor = RewardMonitor(
        ...     lambda prompts, completions: [float(len(c)) for c in completions],
        ...     ["Say hello.", "Say goodbye."],
        ...     references=["Hello!", "Bye!"],
        ...     every=100,
        ...     output_dir=tempfile.mkdtemp(),
        ... )
        >>> monitor.settings.schedule.due(100, None), monitor.curve, monitor.best
        (True, no evaluation yet, None)
    """

    def __init__(
        self,
        reward_model: Any,
        prompts: Any,
        references: Any = None,
        *,
        every: Any = None,
        sampling: Sampling | Mapping[str, Any] = Sampling(),  # noqa: B008  frozen
        metric: str = "win_prob",
        alarm: Alarm | Mapping[str, Any] = Alarm(),  # noqa: B008  frozen
        keep_best: int = 1,
        output_dir: str | Path | None = None,
        report_to: str | Sequence[str | Sink] | Sink | None = None,
        name: str = "",
        prompt_format: Any = None,
        generator: Generator | Mapping[str, Any] | str | None = None,
        kl: Any = None,
        overlap: bool | str = False,
        seed: int = 0,
        on_error: str = "warn",
    ) -> None:
        self._parts = Parts(
            check(
                reward_model,
                prompts,
                references,
                every=every,
                sampling=sampling,
                metric=metric,
                alarm=alarm,
                keep_best=keep_best,
                output_dir=output_dir,
                report_to=report_to,
                name=name,
                prompt_format=prompt_format,
                generator=generator,
                kl=kl,
                overlap=overlap,
                seed=seed,
                on_error=on_error,
            )
        )
        self._run: Run | None = None

    @classmethod
    def from_config(
        cls, config: MonitorConfig | Mapping[str, Any] | str | Path, **objects: Any
    ) -> RewardMonitor:
        """Build from a `MonitorConfig`, a mapping, or the path of a YAML file.

        Args:
            config: What can be written down.
            **objects: Arguments that cannot, such as a loaded model; they win over the config.
        """
        return cls(**{**MonitorConfig.of(config).arguments(), **objects})

    @property
    def settings(self) -> Settings:
        """What it was built with, checked and resolved."""
        return self._parts.settings

    @property
    def run(self) -> Run | None:
        """The present run, or the last one; None before the first."""
        return self._run

    @property
    def curve(self) -> Curve:
        """Every point so far, in order of step; ``checkpoint`` says where its weights lie now."""
        return Curve(() if self._run is None else self._run.curve)

    @property
    def verdict(self) -> Verdict:
        """What the curve says now."""
        return Verdict() if self._run is None else self._run.verdict

    @property
    def best(self) -> Best | None:
        """The best checkpoint on disk; None before the first one is saved."""
        return None if self._run is None else self._run.best

    def step(
        self,
        step: int,
        model: Any = None,
        tokenizer: Any = None,
        *,
        checkpoint: str | Path | None = None,
        save: SavesCheckpoint | None = None,
    ) -> EvalPoint | None:
        """Evaluate if due: one call a training step, on every rank. See `evaluate`.

        The first call begins a run, or goes on with the one in the folder if that ends before this step; so
        does a step that goes back.
        """
        run = self._run
        if run is None or not run.by_hand or goes_back(run, step, self._seen):
            run = self._begin_by_hand(step)
        if run.state != "open":
            run.reopen()
        self._seen = step
        if run.overlaps:
            with inside(self._parts, run, step):
                run.collect()
        due = run.due(step)
        run.touch(model, tokenizer, step=step, will_judge=due)
        return self.evaluate(model, tokenizer, step=step, checkpoint=checkpoint, save=save) if due else None

    def evaluate(
        self,
        model: Any = None,
        tokenizer: Any = None,
        *,
        step: int,
        checkpoint: str | Path | None = None,
        save: SavesCheckpoint | None = None,
    ) -> EvalPoint:
        """Judge the weights as they stand; after `close` too, as a further point of the same run.

        Args:
            model: The model being trained; its training state is left as it was.
            tokenizer: Its tokenizer; never changed.
            step: Optimizer step. The same step again replaces its point.
            checkpoint: Directory where these weights already lie, if they do.
            save: Called with a folder when this is the best so far: ``model.save_pretrained`` fits. What
                `overlap` finds later is written by the second process, with ``save_pretrained``.

        Returns:
            The point; with ``status="failed"`` and a reason if it could not be measured. With `overlap`, with
            ``status="pending"``, which is not on the curve: the real one comes later.

        Raises:
            FirstEvaluationError: If it is the first of the run and failed; nothing is lost yet.
            Exception: Whatever went wrong, only if ``on_error="raise"``.
        """
        run = self._run if self._run is not None else self._begin_by_hand(step)
        run.reopen()
        found: list[EvalPoint] = []
        with inside(self._parts, run, step) as failed:
            found.append(run.evaluate(model, tokenizer, step=step, checkpoint=checkpoint, save=save))
        return found[0] if found else EvalPoint(step=step, status="failed", reason=failed[0])

    def saved(self, step: int, checkpoint: str | Path | None) -> None:
        """Tell where the checkpoint of a step lies. Every rank calls it: what rank 0 finds is broadcast."""
        if self._run is not None:
            with inside(self._parts, self._run, step):
                self._run.saved(step, checkpoint)

    def note(self, step: int, logs: Mapping[str, Any], arguments: Any = None) -> None:
        """Read a record of the trainer's logs: the training reward, and what its reward models are called.

        The callback does this. A hand-written loop may: ``monitor.note(step, {"reward": mean_reward})``.

        Args:
            step: Optimizer step.
            logs: Name -> number, under the names that TRL uses
                (`rm_monitor.verdict.signals.training_reward.KEYS`).
            arguments: The trainer's; its ``reward_model_path`` is read, if it has one.
        """
        run = self._run if self._run is not None else self._begin_by_hand(step)
        with inside(self._parts, run, step):
            run.note(step, logs, arguments)

    def begin(
        self,
        *,
        resume_step: int | None = None,
        output_dir: str | Path | None = None,
        report_to: Any = None,
        horizon: int | None = None,
        by_hand: bool = True,
    ) -> Run:
        """Begin a run; one that is still open is closed first, and its points are its own attempt's.

        A loop need not call it (see `step`); one that knows better than the folder may.

        Args:
            resume_step: Step the training resumes from; None: a fresh run, earlier points are history.
            output_dir: Used when the monitor was built without one.
            report_to: Likewise: names, to which an open W&B run is added, or `Sink` objects and no more.
            horizon: Evaluations expected, if the alarm was built without.
            by_hand: A loop drives the run; False: a Trainer.
        """
        folder = self.settings.folder_in(output_dir)
        if self._run is not None:
            self._run.close()
        run = Run(self._parts, folder, by_hand=by_hand)
        run.begin(resume_step, report_to=report_to, horizon=horizon)
        self._run, self._seen = run, None
        return run

    def close(self) -> None:
        """Wait for what is outstanding, print the summary and let go of files. Safe to call twice."""
        if self._run is not None:
            with inside(self._parts, self._run, self._run.last_step or 0):
                self._run.close()

    def __enter__(self) -> RewardMonitor:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        """What judges what, and how it stands."""
        return f"RewardMonitor({len(self.settings.prompts)} prompts, {self._parts.metric}): {self.verdict}"

    def _repr_html_(self) -> str:
        """The card of a notebook."""
        from rm_monitor.report.card import card  # noqa: PLC0415  only a notebook asks

        return card(self.curve, self.verdict, self.best, self._parts.metric)

    _seen: int | None = None  # step that a hand-written loop was at

    def _begin_by_hand(self, step: int) -> Run:
        """Begin a run of a hand-written loop: on from the folder's curve, if that begins before this step."""
        return self.begin(resume_step=resumes_from(self.settings.folder_in(None), step))
