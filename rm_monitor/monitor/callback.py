"""`RewardMonitorCallback`: Hugging Face Trainer events -> `RewardMonitor`.

Where the work happens, and why (each was seen in a run; see ``docs/design/callback.md``):

* ``on_step_end``/``on_epoch_end`` judge the checkpoint that is about to be saved: the flow callback has
  decided by then, and the Trainer acts right after. ``trainer.log`` is never called: it would swallow the
  loss.
* ``on_log`` and ``on_evaluate`` only pass the numbers on, into the dict that the Trainer picks its best by.
* ``on_save`` links the best checkpoint before the next rotation can delete it.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from transformers import TrainerCallback

from rm_monitor.monitor.monitor import RewardMonitor
from rm_monitor.training.unwrap import tokenizer_of
from rm_monitor.types import EvalPoint

__all__ = ["RewardMonitorCallback"]

log = logging.getLogger("rm_monitor")

SelectBest = Literal["auto", True, False]


class RewardMonitorCallback(TrainerCallback):
    """Judges checkpoints while a Trainer (transformers, TRL, ...) runs; takes no trainer argument.

    Numbers reach the Trainer as ``eval_rm_<metric>``, so ``metric_for_best_model="rm_win_prob"``,
    ``load_best_model_at_end``, ``save_strategy="best"`` and ``EarlyStoppingCallback`` work as they stand.

    Args:
        monitor: What to judge with.
        select_best: ``"auto"``: our best becomes the Trainer's best, unless the user selects by a metric of
            their own, which is left alone; True: always; False: never. Our own ``best/`` is kept in each
            case.
        stop_on_degradation: Stop training when the alarm was raised in two evaluations in a row.
        baseline: Judge the untrained weights at step 0.
        examine: Look for the prompts and references in the training set, at the start.

    Example:
        >>> monitor = RewardMonitor(lambda p, c: [0.0] * len(c), ["Hi"], references=["Hello"])
        >>> RewardMonitorCallback(monitor).select_best
        'auto'
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
        if select_best not in ("auto", True, False):
            raise ValueError(f"`select_best` must be 'auto', True or False, got {select_best!r}")
        self.monitor = monitor
        self.select_best = select_best
        self.stop_on_degradation = stop_on_degradation
        self.baseline = baseline
        self.examine = examine
        self._steers = False
        self._judged: int | None = None
        self._epochs: dict[int, float | None] = {}  # of evaluations that come late

    # ------------------------------------------------------------------ events, in the order they come

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Open the files, continue or begin the curve, judge step 0."""
        if self.monitor.overlaps and _asked(args).startswith("eval_rm_"):
            raise ValueError(
                f"metric_for_best_model={args.metric_for_best_model!r} is read at the very step, and with "
                "`overlap` it comes later: leave metric_for_best_model out (the best checkpoint is kept "
                "anyhow, and select_best=True makes it the Trainer's), or leave `overlap` out"
            )
        self.monitor.start(
            resume_step=state.global_step or None,
            default_output_dir=args.output_dir,
            default_report_to=tuple(args.report_to or ()),
            horizon=_horizon(self.monitor, args, state, baseline=self.baseline),
        )
        self.monitor.check(kwargs.get("model"), _tokenizer(kwargs))
        dataset = getattr(kwargs.get("train_dataloader"), "dataset", None)
        if self.examine and dataset is not None:
            self.monitor.examine(dataset, _tokenizer(kwargs))
        self.monitor.note(state.global_step, {}, args)
        for logs in state.log_history:
            self.monitor.note(logs.get("step", 0), logs)
        self.monitor.prepare(kwargs.get("model"))
        self._steers = self._may_steer(args)  # by the headline that rank 0 found, which `start` made known
        last = self.monitor.curve[-1].step if self.monitor.curve else None
        self._judged = last if state.global_step else None
        if state.global_step == 0 and self.baseline:
            self._judge(args, state, control, kwargs)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Judge the weights if the schedule, or the Trainer, asks for this step."""
        if _is_last(state) or self._is_due(args, state, control):
            self._judge(args, state, control, kwargs)
        self._collect(args, state, control, wait=_is_last(state))

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """The same, for strategies that save or evaluate at the end of an epoch."""
        if self._is_due(args, state, control):
            self._judge(args, state, control, kwargs)

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **kwargs: Any
    ) -> None:
        """Read the training reward; pass numbers on before anyone's ``on_evaluate``.

        The Trainer logs the very dict it evaluates by.

        So an `EarlyStoppingCallback` that is listed before us sees them too.
        """
        if logs is not None:
            self.monitor.note(state.global_step, logs, args)
        if logs is not None and any(k.startswith("eval_") and k.endswith("_runtime") for k in logs):
            self._pass_on(args, state, control, logs, kwargs)

    def on_evaluate(
        self, args: Any, state: Any, control: Any, metrics: dict[str, float] | None = None, **kwargs: Any
    ) -> None:
        """Put our numbers into the Trainer's ``metrics``: it picks its best model from them."""
        if metrics is not None:
            self._pass_on(args, state, control, metrics, kwargs)

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Link the best checkpoint; tell the Trainer where it lies."""
        step = state.global_step
        self.monitor.saved(step, Path(args.output_dir) / f"checkpoint-{step}")
        self._mark(args, state)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Print the summary."""
        self._collect(args, state, control, wait=True)
        self._mark(args, state)
        self.monitor.close()

    # ------------------------------------------------------------------ when

    def _is_due(self, args: Any, state: Any, control: Any) -> bool:
        if state.global_step == self._judged:
            return False
        if self.monitor.schedule.follows_trainer:
            return bool(control.should_save or control.should_evaluate)
        if control.should_evaluate and _asked(args).startswith("eval_rm_"):
            return True
        return self.monitor.due(state.global_step)

    # ------------------------------------------------------------------ what

    def _judge(self, args: Any, state: Any, control: Any, kwargs: dict[str, Any]) -> None:
        """Evaluate once a step, and steer the Trainer by what was found."""
        step = state.global_step
        tokenizer = _tokenizer(kwargs)
        self._judged = step
        self._epochs[step] = state.epoch
        point = self.monitor.evaluate(
            kwargs.get("model"),
            tokenizer,
            step=step,
            about_to_save=step > 0 and self._may_save(args, control),
            whatever_it_costs=_is_last(state),  # a run ends with a judged checkpoint
        )
        if point.status != "pending":  # one that is comes with `_collect`
            self._react(point, state, control)

    def _collect(self, args: Any, state: Any, control: Any, *, wait: bool) -> None:
        """React to what a second process has found; before the Trainer's best is loaded, to all of it."""
        found = self.monitor.collect(wait=wait)
        for point in found:
            self._react(point, state, control)
        if found:
            self._mark(args, state)

    def _react(self, point: EvalPoint, state: Any, control: Any) -> None:
        """Steer the Trainer by a point of the curve."""
        row = {f"rm_monitor/{name}": e.value for name, e in point.metrics.items() if math.isfinite(e.value)}
        epoch = self._epochs.pop(point.step, state.epoch)
        state.log_history.append({**row, "epoch": epoch, "step": point.step})
        best = self.monitor.best
        if best is not None and best.step == state.global_step > 0:
            control.should_save = True
            if self._steers and not control.should_evaluate:
                state.best_metric, state.best_global_step = float(best.value.value), best.step
        if self.stop_on_degradation and self.monitor.verdict.consecutive >= 2:
            control.should_training_stop = True

    def _pass_on(
        self, args: Any, state: Any, control: Any, metrics: dict[str, float], kwargs: dict[str, Any]
    ) -> None:
        asked = _asked(args)
        ours = asked.startswith("eval_rm_")
        if ours and self._judged != state.global_step:
            self._judge(args, state, control, kwargs)
        metrics.update(self._values(state.global_step))
        if ours:
            metrics.setdefault(asked, math.nan)  # a missing key would end the training with a KeyError
        if self._steers and asked == f"eval_rm_{self.monitor.metric}":
            self._agree(state, metrics[asked])

    def _values(self, step: int) -> Iterator[tuple[str, float]]:
        """``eval_rm_<name>`` of a step, as python floats: the Trainer writes them to JSON."""
        for point in self.monitor.curve:
            if point.step == step:
                for name, estimate in point.metrics.items():
                    yield f"eval_rm_{name}", float(estimate.value)
                yield "eval_rm_degraded", float(self.monitor.verdict.state == "degraded")

    # ------------------------------------------------------------------ steering the Trainer's best model

    def _may_save(self, args: Any, control: Any) -> bool:
        return bool(control.should_save) or self.select_best is not False

    def _may_steer(self, args: Any) -> bool:
        if self.select_best is False:
            return False
        if args.save_total_limit == 1:
            log.warning(
                "save_total_limit=1 and a best model: at the end the Trainer deletes the last checkpoint "
                "and keeps only the best one. Use 2 or more to keep both."
            )
        own = args.metric_for_best_model
        if own is None or own in (f"rm_{self.monitor.metric}", f"eval_rm_{self.monitor.metric}"):
            return True
        if self.select_best is True:
            return True
        log.warning(
            "metric_for_best_model=%r is left alone: the Trainer selects by it, and rm_monitor keeps its own "
            "best in %s/best. Use metric_for_best_model='rm_%s' to select by the monitor.",
            own,
            Path(args.output_dir) / "_rm_monitor",
            self.monitor.metric,
        )
        return False

    def _agree(self, state: Any, value: float) -> None:
        """Make the comparison that the Trainer is about to do come out as ours.

        It takes the new value as best if it is above ``state.best_metric``; ours is the pool score, which
        can call a lower reading better. An `EarlyStoppingCallback` after us reads the same number.
        """
        best = self.monitor.best
        if best is not None and best.step == state.global_step:
            if state.best_metric is not None and not value > state.best_metric:
                state.best_metric = None
        elif math.isfinite(value):
            state.best_metric = max(value, -math.inf if state.best_metric is None else state.best_metric)

    def _mark(self, args: Any, state: Any) -> None:
        """Write our best into the Trainer's state: it protects it from rotation and loads it at the end."""
        best = self.monitor.best
        if not self._steers or best is None or best.step == 0:
            return
        folder = Path(args.output_dir) / f"checkpoint-{best.step}"
        where = folder if folder.is_dir() else best.checkpoint
        if where is None:
            return
        state.best_metric = float(best.value.value)
        state.best_global_step = best.step
        state.best_model_checkpoint = str(where)


def _tokenizer(kwargs: dict[str, Any]) -> Any:
    return tokenizer_of(kwargs.get("processing_class") or kwargs.get("tokenizer"))


def _is_last(state: Any) -> bool:
    return bool(state.max_steps > 0 and state.global_step >= state.max_steps)


def _asked(args: Any) -> str:
    """The key of the Trainer's best-model metric, as it looks it up; empty if there is none."""
    name = args.metric_for_best_model or ""
    return name if not name or name.startswith("eval_") else f"eval_{name}"


def _horizon(monitor: RewardMonitor, args: Any, state: Any, *, baseline: bool) -> int | None:
    """How many evaluations the run will have, if that can be told at the start."""
    if state.max_steps <= 0:
        return None
    every = monitor.schedule.every
    if monitor.schedule.follows_trainer:
        strategies = ((args.save_strategy, args.save_steps), (args.eval_strategy, args.eval_steps))
        steps = [n for strategy, n in strategies if strategy == "steps" and n]
        every = int(min(steps)) if steps else None
        if every is None and "epoch" in (args.save_strategy, args.eval_strategy):
            return math.ceil(args.num_train_epochs) + int(baseline) if args.num_train_epochs else None
    return None if not every else math.ceil(state.max_steps / every) + int(baseline)
