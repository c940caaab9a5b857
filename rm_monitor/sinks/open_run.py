"""Loggers that need no pictures: a table says where the open run is and how one logs to it.

Nothing is opened here. Where a logger has no run of its own to be found (DVCLive, Neptune, Aim keep none), it
is given: ``report_to=[OpenRunSink("aim", run=run)]``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from rm_monitor.sinks.row import row
from rm_monitor.types import Update

__all__ = ["LOGGERS", "Logger", "OpenRunSink"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Logger:
    """How a logger is used.

    Attributes:
        module: Its package; loaded by whoever opened the run.
        find: Module -> the open run, None if there is none; None: it cannot be found and is given.
        numbers: ``(run, name -> number, step)``: log them.
        words: ``(run, name, text)``: set a text of the run; None: the logger has no place for one.
    """

    module: str
    find: Callable[[Any], Any] | None
    numbers: Callable[[Any, Mapping[str, float], int], Any]
    words: Callable[[Any, str, str], Any] | None = None


def _swanlab(module: Any) -> Any:
    try:
        return module.get_run()
    except RuntimeError:  # its way to say that there is none
        return None


def _clearml(run: Any, values: Mapping[str, float], step: int) -> None:
    for name, value in values.items():
        title, _, series = name.partition("/")
        run.get_logger().report_scalar(title=title, series=series, value=value, iteration=step)


def _neptune(run: Any, values: Mapping[str, float], step: int) -> None:
    for name, value in values.items():
        run[name].append(value, step=step)


def _aim(run: Any, values: Mapping[str, float], step: int) -> None:
    for name, value in values.items():
        run.track(value, name=name, step=step)


def _dvclive(run: Any, values: Mapping[str, float], step: int) -> None:
    """Under the number that the `Live` has reached: it counts logs, and only its owner may move it on."""
    for name, value in values.items():
        run.log_metric(name, value)


LOGGERS: Mapping[str, Logger] = {
    "comet_ml": Logger(
        module="comet_ml",
        find=lambda module: module.get_running_experiment(),
        numbers=lambda run, values, step: run.log_metrics(dict(values), step=step),
        words=lambda run, name, text: run.log_other(name, text),
    ),
    "swanlab": Logger(
        module="swanlab",
        find=_swanlab,
        numbers=lambda run, values, step: run.log(dict(values), step=step),
    ),
    "clearml": Logger(
        module="clearml",
        find=lambda module: module.Task.current_task(),
        numbers=_clearml,
        words=lambda run, name, text: run.set_user_properties(**{name.replace("/", " "): text}),
    ),
    "dvclive": Logger(module="dvclive", find=None, numbers=_dvclive),
    "neptune": Logger(
        module="neptune",
        find=None,
        numbers=_neptune,
        words=lambda run, name, text: run.__setitem__(name, text),
    ),
    "aim": Logger(
        module="aim",
        find=None,
        numbers=_aim,
        words=lambda run, name, text: run.__setitem__(name, text),
    ),
}


class OpenRunSink:
    """Logs the numbers that are known to an open run; without one it does nothing.

    Args:
        name: One of `LOGGERS`.
        run: The run; None: the one that is open when an evaluation is shown.

    Raises:
        ValueError: If the name is unknown, or its run cannot be found and is not given.

    Example:
        >>> OpenRunSink("aim")
        Traceback (most recent call last):
            ...
        ValueError: aim's open run cannot be found: give it, report_to=[OpenRunSink('aim', run=...)]
    """

    def __init__(self, name: str, run: Any = None) -> None:
        if name not in LOGGERS:
            raise ValueError(f"`name` must be one of {sorted(LOGGERS)}, got {name!r}")
        self._logger = LOGGERS[name]
        if run is None and self._logger.find is None:
            raise ValueError(
                f"{name}'s open run cannot be found: give it, report_to=[OpenRunSink({name!r}, run=...)]"
            )
        self._run = run

    def show(self, update: Update) -> None:
        """Log the numbers on the optimizer step, then the verdict and the best as texts."""
        run = self._run if self._run is not None else self._open()
        if run is None:
            return
        known = {name: value for name, value in row(update).items() if value == value}
        self._logger.numbers(run, known, update.point.step)
        if self._logger.words is not None:
            self._logger.words(run, "rm_monitor/verdict", update.verdict.reason)
            if update.best is not None and update.best.checkpoint:
                self._logger.words(run, "rm_monitor/best_checkpoint", update.best.checkpoint)

    def _open(self) -> Any:
        """The open run, if its package is loaded at all."""
        module = sys.modules.get(self._logger.module)
        find = self._logger.find
        return None if module is None or find is None else find(module)
