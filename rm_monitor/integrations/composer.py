"""Composer (llm-foundry): ``Trainer(callbacks=[RewardMonitorCallback(monitor)])``.

The class is made when it is asked for, so that this module can be imported without Composer.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rm_monitor.sinks.row import row
from rm_monitor.types import Update

if TYPE_CHECKING:
    from rm_monitor.monitor.monitor import RewardMonitor

__all__ = ["RewardMonitorCallback"]  # noqa: F822  made when it is asked for


class _LoggerSink:
    """Logs where the trainer logs, at its step: W&B takes rows with and without one only by dropping some."""

    def __init__(self, logger: Any) -> None:
        self._logger = logger

    def show(self, update: Update) -> None:
        """Log the numbers that are known."""
        known = {name: value for name, value in row(update).items() if value == value}
        self._logger.log_metrics(known, step=update.point.step)


class _Events:
    """What Composer's events mean for a monitor."""

    def __init__(self, monitor: RewardMonitor, *, output_dir: str | Path | None = None) -> None:
        """Judges checkpoints while a ``composer.Trainer`` runs.

        The policy and its tokenizer are those of the ``HuggingFaceModel``. Numbers go to every logger of the
        trainer, at its batch; a monitor that was told where to report keeps to that.

        Args:
            monitor: What to judge with.
            output_dir: Where its files go, unless it was built with one.
        """
        super().__init__()
        self.monitor = monitor
        self._output_dir = output_dir
        self._judged: int | None = None

    def fit_start(self, state: Any, logger: Any) -> None:
        """Begin a run, or go on with one that was loaded; judge the weights that training starts from."""
        self._policy(state)  # refused before training
        self._judged = None
        step = state.timestamp.batch.value
        sinks = [_LoggerSink(logger)]
        self.monitor.begin(resume_step=step or None, output_dir=self._output_dir, report_to=sinks)
        self._look(state)

    def batch_end(self, state: Any, logger: Any) -> None:
        """Judge what an optimizer step made, if it is due."""
        self._look(state)

    def fit_end(self, state: Any, logger: Any) -> None:
        """Judge the last weights."""
        self._look(state, always=self._judged != state.timestamp.batch.value)

    def close(self, state: Any, logger: Any) -> None:
        """The trainer is closed, also behind an exception: print the summary."""
        self.monitor.close()

    def _look(self, state: Any, *, always: bool = False) -> None:
        policy, tokenizer = self._policy(state)
        step = state.timestamp.batch.value

        def save(folder: Path) -> None:
            policy.save_pretrained(folder)
            tokenizer.save_pretrained(folder)

        judge = self.monitor.evaluate if always else self.monitor.step
        if judge(model=policy, tokenizer=tokenizer, step=step, save=save) is not None:
            self._judged = step

    def _policy(self, state: Any) -> tuple[Any, Any]:
        from composer.models import HuggingFaceModel  # noqa: PLC0415  the host

        model = state.model.module if hasattr(state.model, "module") else state.model
        if not isinstance(model, HuggingFaceModel) or model.tokenizer is None:
            raise ValueError(
                f"a {type(model).__name__} cannot be asked: the monitor needs a HuggingFaceModel that has a "
                "tokenizer, HuggingFaceModel(model, tokenizer=tokenizer)"
            )
        return model.model, model.tokenizer


@cache
def _callback() -> Any:
    from composer import Callback  # noqa: PLC0415  the host

    return type("RewardMonitorCallback", (_Events, Callback), {"__doc__": _Events.__init__.__doc__})


def __getattr__(name: str) -> Any:
    if name != "RewardMonitorCallback":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return _callback()
