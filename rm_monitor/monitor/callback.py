"""`RewardMonitorCallback`: Hugging Face Trainer events -> `RewardMonitor`.

Where the work happens, and why (each was seen in a run; see ``docs/design/callback.md``):

* ``on_train_begin`` begins a run, always, and refuses what cannot work before anything is lost.
* ``on_step_end``/``on_epoch_end`` judge the checkpoint that is about to be saved: all other callbacks have
  decided by then (ours is moved behind them), and the Trainer acts right after. ``trainer.log`` is never
  called: it would swallow the loss.
* ``on_log`` and ``on_evaluate`` only pass the numbers on, into the dict that the Trainer picks its best by.
* ``on_save`` links the best checkpoint before the next rotation can delete it, and judges again what was
  saved, if that is not what was judged.
"""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import Any

from rm_monitor.errors import StoreBusyError
from rm_monitor.monitor.as_trained import settle_format
from rm_monitor.monitor.border import guarded
from rm_monitor.monitor.callback_acts import CallbackActs, is_last, tokenizer_in
from rm_monitor.monitor.examine import examine
from rm_monitor.monitor.host import Host, host_of
from rm_monitor.monitor.late import LateBegin, patiently
from rm_monitor.monitor.monitor import RewardMonitor
from rm_monitor.monitor.pushing import add_to_card, after_the_card
from rm_monitor.monitor.saving import unfit
from rm_monitor.monitor.steering import SelectBest, Steering, asked_for
from rm_monitor.types.checks import one_of

__all__ = ["RewardMonitorCallback"]

log = logging.getLogger("rm_monitor")


class RewardMonitorCallback(CallbackActs):
    """Judges checkpoints while a Trainer (transformers, TRL, ...) runs; takes no trainer argument.

    Numbers reach the Trainer as ``eval_rm_<metric>``, so ``metric_for_best_model="rm_win_prob"``,
    ``load_best_model_at_end``, ``save_strategy="best"`` and ``EarlyStoppingCallback`` work as they stand. A
    failed evaluation is a gap on the curve, and no number for any of these.

    Args:
        monitor: What to judge with.
        select_best: ``"auto"``: our best becomes the Trainer's best, unless the Trainer selects by a metric
            of the user's own, which is left alone; True: always; False: never. Our own ``best/`` is kept in
            each case.
        stop_on_degradation: Stop training when the alarm was raised in two evaluations in a row.
        baseline: Judge the untrained weights at step 0; without it two prompts are tried and forgotten.
        examine: Look at the training set, at the start: are the prompts and references in it, and are its
            rows in the format in which the policy is asked?

    Example:
        >>> monitor = RewardMonitor(lambda p, c: [0.0] * len(c), ["Hi"], references=["Hello"])
        >>> RewardMonitorCallback(monitor).stop_on_degradation
        False
    """

    def __init__(
        self,
        monitor: RewardMonitor,
        *,
        select_best: SelectBest = "auto",
        stop_on_degradation: bool = False,
        baseline: bool = True,
        examine: bool = True,
    ) -> None:
        one_of("select_best", select_best, ("auto", True, False), "whether our best becomes the Trainer's")
        if not isinstance(monitor, RewardMonitor):
            raise ValueError(
                f"`monitor` must be a RewardMonitor, got {monitor!r:.100}: "
                "RewardMonitorCallback(RewardMonitor(reward_model, prompts))"
            )
        given = {"stop_on_degradation": stop_on_degradation, "baseline": baseline, "examine": examine}
        for name, value in given.items():
            one_of(name, value, (True, False), "on or off")
        super().__init__(monitor, select_best, stop_on_degradation)
        self.baseline = baseline
        self.examine = examine

    # ------------------------------------------------------------------ events, in the order they come

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Begin a run: open the files, continue or begin the curve, judge step 0.

        A training that resumes does not wait for the lock of the machine it ran on before.

        Raises:
            ValueError: If something cannot work; nothing is lost yet.
            FirstEvaluationError: If the first evaluation failed.
        """

        def begin() -> None:
            self._begin(args, state, control, kwargs)

        self._late = None
        if state.global_step == 0:
            return patiently(begin)
        try:
            begin()
        except StoreBusyError as busy:
            self._late = LateBegin(busy)

    def _begin(self, args: Any, state: Any, control: Any, kwargs: dict[str, Any]) -> None:
        host = host_of(self)
        self._refuse(args, host)
        host.move_last(self)
        settings = self.monitor.settings
        self._output_dir = host.output_dir(args)
        model, tokenizer = kwargs.get("model"), tokenizer_in(kwargs)
        dataset = getattr(kwargs.get("train_dataloader"), "dataset", None)
        # Before the run begins: the format is one of its conditions.
        settle_format(self.parts, dataset, model, tokenizer, args, examine=self.examine)
        horizon = _horizon(self.monitor, args, state, baseline=self.baseline)
        run = self.monitor.begin(
            resume_step=state.global_step or None,
            output_dir=self._output_dir,
            report_to=tuple(args.report_to or ()),
            horizon=horizon,
            by_hand=False,
        )
        metric = run.metric  # the headline that rank 0 found, which `begin` made known
        self._steering = Steering(self.select_best, metric, settings.name)
        self._steering.begin(args, run.folder)
        self._training, self._epochs = True, {}
        self._judged = run.last_step if state.global_step else None
        if self.examine and run.is_first:
            examine(run, settings.prompts, settings.references, dataset, tokenizer, self.parts.failures)
        run.trains(model, args)
        self.monitor.note(state.global_step, {}, args)
        for logs in state.log_history:
            self.monitor.note(logs.get("step", 0), logs)
        if settings.schedule.follows_trainer and not _follows_anything(args):
            log.warning(
                "rm_monitor: every=None judges with each save or evaluation of the Trainer, and it does "
                "neither (save_strategy and eval_strategy are 'no'): only the first and the last weights "
                "will be judged. Give RewardMonitor(every=...) a number of steps"
            )
        self._optimizer = None
        if str(getattr(args.eval_strategy, "value", args.eval_strategy)) != "no":
            self._optimizer = kwargs.get("optimizer")  # the Trainer asks it for the weights to evaluate
        if state.global_step == 0 and self.baseline:
            self._judge(args, state, control, kwargs)
        else:
            run.touch(model, tokenizer, step=state.global_step, will_judge=False)

    @guarded
    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Judge the weights if the schedule, the Trainer or the end of the run asks for this step."""
        if self.begins_late(args, state, control, kwargs):
            return
        last = is_last(state) or bool(control.should_training_stop)
        if last or self._is_due(args, state, control):
            self._judge_once(args, state, control, kwargs, last=last)
        self._collect(args, state, control, wait=last)

    @guarded
    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """The same, for strategies that save or evaluate at the end of an epoch."""
        last = bool(control.should_training_stop)
        if last or self._is_due(args, state, control):
            self._judge_once(args, state, control, kwargs, last=last)

    @guarded
    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **kwargs: Any
    ) -> None:
        """Read the training reward; pass numbers on before anyone's ``on_evaluate``.

        The Trainer logs the very dict it evaluates by, so a callback that is listed before us sees them too.
        """
        if logs is None:
            return
        if self._training:
            self.monitor.note(state.global_step, logs, args)
        if any(key.startswith("eval_") and key.endswith("_runtime") for key in logs):
            self._pass_on(args, state, control, logs, kwargs, host_of(self), complete=False)

    @guarded
    def on_evaluate(
        self, args: Any, state: Any, control: Any, metrics: dict[str, float] | None = None, **kwargs: Any
    ) -> None:
        """Put our numbers into the Trainer's ``metrics``: it picks its best model from them."""
        if metrics is not None:
            self._pass_on(args, state, control, metrics, kwargs, host_of(self), complete=True)
        if self._training and control.should_training_stop:  # someone stops by what was evaluated
            self._judge_once(args, state, control, kwargs, last=True)

    @guarded
    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Link the best checkpoint; tell the Trainer where it lies."""
        step, run = state.global_step, self.monitor.run
        folder = self._output_dir / f"checkpoint-{step}"
        if run is None or not self._training:
            return
        if self._judged != step and (self.monitor.settings.schedule.follows_trainer):
            self._judge(args, state, control, kwargs)  # a callback behind us asked for this checkpoint
        elif self._judged == step and self._was_changed(run, step, kwargs):
            log.warning(
                "rm_monitor: the weights saved at step %d are not those that were judged (a callback or the "
                "optimizer changed them in between); the saved ones are judged now",
                step,
            )
            self._judge(args, state, control, kwargs)
        why = unfit(folder, kwargs.get("model") if self._judged == step else None) if run.is_first else ""
        if why:
            log.warning("rm_monitor: the checkpoint of step %d cannot be kept: %s", step, why)
        self.monitor.saved(step, None if why else folder)  # every rank waits for what rank 0 says
        self._steering.mark(state, self.monitor.best, self._output_dir)

    @guarded
    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Judge the last weights if nobody has, print the summary."""
        if not self._training:
            return
        run = self.monitor.run
        loaded = bool(args.load_best_model_at_end)  # then these are the best weights, not the last
        if run is not None and self._judged != state.global_step and not loaded and not run.is_lost:
            self._judge(args, state, control, kwargs, last=True)
        self._collect(args, state, control, wait=True)
        self._steering.mark(state, self.monitor.best, self._output_dir)
        self._training = False
        self.monitor.close()

    @guarded
    def on_push_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Let the model card that the Trainer is about to write say how the training went."""
        run, trainer = self.monitor.run, host_of(self).trainer
        if run is None or trainer is None or not run.is_first or not run.curve:
            return

        def add() -> None:
            try:
                add_to_card(run, Path(args.output_dir))
            except Exception as problem:
                self.parts.failures("card", "the model card says nothing of the run", problem)

        after_the_card(trainer, add)

    # ------------------------------------------------------------------ when

    def _is_due(self, args: Any, state: Any, control: Any) -> bool:
        run = self.monitor.run
        if run is None or state.global_step == self._judged:
            return False
        if self.monitor.settings.schedule.follows_trainer:
            return bool(control.should_save or control.should_evaluate)
        if control.should_evaluate and self._steering.is_ours(asked_for(args)):
            return True
        return run.due(state.global_step)

    def _refuse(self, args: Any, host: Host) -> None:
        """Refuse what cannot work with this Trainer's arguments.

        Raises:
            ValueError: What, and the way out.
        """
        settings = self.monitor.settings
        if settings.overlap and self._steering.is_ours(asked_for(args)):
            raise ValueError(
                f"metric_for_best_model={args.metric_for_best_model!r} is read at the very step, and with "
                "`overlap` it comes later: leave metric_for_best_model out (the best checkpoint is kept "
                "anyhow, and select_best=True makes it the Trainer's), or leave `overlap` out"
            )
        folder = settings.folder_in(host.output_dir(args))
        for other in host.others(self):
            if other.monitor is self.monitor:
                raise ValueError("this monitor is on the trainer twice: add one RewardMonitorCallback of it")
            if other.monitor.settings.folder_in(host.output_dir(args)) == folder:
                raise ValueError(
                    f"two monitors on one trainer write into the same folder, {folder}: give each a name, "
                    "such as RewardMonitor(..., name='math'), which is also a part of its keys"
                )


def _follows_anything(args: Any) -> bool:
    return any(str(getattr(s, "value", s)) != "no" for s in (args.save_strategy, args.eval_strategy))


def _horizon(monitor: RewardMonitor, args: Any, state: Any, *, baseline: bool) -> int | None:
    """How many evaluations the run will have, if that can be told at the start."""
    schedule = monitor.settings.schedule
    if state.max_steps <= 0 or not schedule.follows_trainer:
        return schedule.expected(state.max_steps, baseline=baseline)
    strategies = ((args.save_strategy, args.save_steps), (args.eval_strategy, args.eval_steps))
    steps = [n for strategy, n in strategies if strategy == "steps" and n]
    if steps:
        return -(-int(state.max_steps) // int(min(steps))) + int(baseline)
    if "epoch" in (args.save_strategy, args.eval_strategy) and args.num_train_epochs:
        return math.ceil(float(args.num_train_epochs)) + int(baseline)
    return None
