"""What the callback does at an event: judge, react, pass numbers on. When it does is in `callback`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from rm_monitor.monitor.host import Host
from rm_monitor.monitor.late import LateBegin
from rm_monitor.monitor.monitor import RewardMonitor
from rm_monitor.monitor.parts import Parts
from rm_monitor.monitor.run import Run
from rm_monitor.monitor.steering import SelectBest, Steering, asked_for
from rm_monitor.training.unwrap import tokenizer_of
from rm_monitor.types import EvalPoint

__all__ = ["CallbackActs", "is_last", "point_at", "tokenizer_in"]


class CallbackActs(TrainerCallback):
    """The acts of a callback, and what it remembers from one event to the next.

    Args:
        monitor: What to judge with.
        select_best: As `RewardMonitorCallback` takes it.
        stop_on_degradation: Likewise.
    """

    def __init__(self, monitor: RewardMonitor, select_best: SelectBest, stop_on_degradation: bool) -> None:
        self.monitor = monitor
        self.parts: Parts = monitor._parts
        self.select_best = select_best
        self.stop_on_degradation = stop_on_degradation
        self._steering = Steering(select_best, "win_prob", monitor.settings.name)
        self._training = False
        self._late: LateBegin | None = None  # the run has not begun yet
        self._judged: int | None = None
        self._output_dir = Path()
        self._optimizer: Any = None
        self._epochs: dict[int, float | None] = {}  # of evaluations that come late

    def begins_late(self, args: Any, state: Any, control: Any, kwargs: dict[str, Any]) -> bool:
        """Whether the run has not begun yet, or never will; it is tried at the end of a step."""
        if self._late is None:
            return False
        if self._late.tries(lambda: self._begin(args, state, control, kwargs)):
            self._late = None
        return self._late is not None

    def _begin(self, args: Any, state: Any, control: Any, kwargs: dict[str, Any]) -> None:
        raise NotImplementedError

    def _judge_once(
        self, args: Any, state: Any, control: Any, kwargs: dict[str, Any], *, last: bool = False
    ) -> None:
        if state.global_step != self._judged:
            self._judge(args, state, control, kwargs, last=last)

    def _judge(
        self, args: Any, state: Any, control: Any, kwargs: dict[str, Any], *, last: bool = False
    ) -> None:
        """Evaluate, and steer the Trainer by what was found."""
        run = self.monitor.run
        if run is None:
            return
        step = state.global_step
        self._judged = step
        self._epochs[step] = state.epoch
        point = run.evaluate(
            kwargs.get("model"),
            tokenizer_in(kwargs),
            step=step,
            about_to_save=step > 0 and (bool(control.should_save) or self.select_best is not False),
            whatever_it_costs=last or is_last(state),  # a run ends with a judged checkpoint
            optimizer=self._optimizer,
        )
        if point.status != "pending":  # one that is comes with `_collect`
            self._react(point, state, control)

    def _collect(self, args: Any, state: Any, control: Any, *, wait: bool) -> None:
        """React to what a second process has found; before the Trainer's best is loaded, to all of it."""
        run = self.monitor.run
        found = () if run is None else run.collect(wait=wait)
        for point in found:
            self._react(point, state, control)
        if found:
            self._steering.mark(state, self.monitor.best, self._output_dir)

    def _react(self, point: EvalPoint, state: Any, control: Any) -> None:
        """Steer the Trainer by a point of the curve."""
        name = self.monitor.settings.name
        prefix = f"rm_monitor/{name}/" if name else "rm_monitor/"
        row = {f"{prefix}{name}": e.value for name, e in point.metrics.items() if math.isfinite(e.value)}
        epoch = self._epochs.pop(point.step, state.epoch)
        state.log_history.append({**row, "epoch": epoch, "step": point.step})
        best = self.monitor.best
        if best is not None and best.step == state.global_step > 0:
            control.should_save = True
            if not control.should_evaluate:
                self._steering.take(state, best)
        if self.stop_on_degradation and self.monitor.verdict.consecutive >= 2:
            control.should_training_stop = True

    def _pass_on(
        self,
        args: Any,
        state: Any,
        control: Any,
        metrics: dict[str, float],
        kwargs: dict[str, Any],
        host: Host,
        *,
        complete: bool,
    ) -> None:
        """Put our numbers into a dict of the Trainer's.

        When it is to be ``complete`` the asked-for key must be there, also if there is no number for it.
        """
        asked = asked_for(args)
        ours = self._steering.is_ours(asked)
        if not any(key.startswith("eval_") and key.endswith("_runtime") for key in metrics):
            return  # of another data set: metric_key_prefix="test"
        if host.sums_metrics and not ours:
            return  # the objective of a search would be their sum
        point = self._point_for(args, state, control, kwargs, ours)
        metrics.update(self._steering.values(point, self.monitor.verdict, asked if ours else ""))
        if ours and asked not in metrics and complete:
            metrics.update(self._steering.carried(asked, args, host, kwargs.get("lr_scheduler")))
        self._steering.agree(state, metrics, self.monitor.best)

    def _point_for(
        self, args: Any, state: Any, control: Any, kwargs: dict[str, Any], ours: bool
    ) -> EvalPoint | None:
        """The numbers of the weights that the Trainer is evaluating."""
        run, step, model = self.monitor.run, state.global_step, kwargs.get("model")
        if self._training and run is not None:
            if ours:
                self._judge_once(args, state, control, kwargs)
            return point_at(run, step) if self._judged == step else None
        # before a training or after it, when other weights may have been loaded
        if run is not None and (known := run.look_up(model, tokenizer_in(kwargs))) is not None:
            return known
        if not ours:
            return None
        folder = self.monitor.settings.folder_in(args.output_dir)
        point, error = self.parts.preview(model, tokenizer_in(kwargs), step=step, folder=folder)
        if error is not None:
            self.parts.failures("evaluation", "these weights could not be judged", error)
        return point

    def _was_changed(self, run: Run, step: int, kwargs: dict[str, Any]) -> bool:
        """Whether the weights are no longer those that were judged at this step."""
        judged = point_at(run, step)
        return judged is not None and run.differs(judged, kwargs.get("model"), tokenizer_in(kwargs))


def point_at(run: Run, step: int) -> EvalPoint | None:
    """The point of a step; None if it was not judged."""
    return next((point for point in run.curve if point.step == step), None)


def tokenizer_in(kwargs: dict[str, Any]) -> Any:
    """What renders text, of an event's arguments: a processor holds one."""
    return tokenizer_of(kwargs.get("processing_class") or kwargs.get("tokenizer"))


def is_last(state: Any) -> bool:
    """Whether this is the last optimizer step of the run."""
    return bool(state.max_steps > 0 and state.global_step >= state.max_steps)
