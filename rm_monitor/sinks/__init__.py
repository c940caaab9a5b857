"""Places where evaluations are shown; one plug-in a file, loaded by name.

A package of somebody else's brings a sink under a name with the entry-point group ``rm_monitor.sinks``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from importlib.metadata import EntryPoint
from importlib.util import find_spec
from typing import Any

from rm_monitor.files.plugins import bring, brought
from rm_monitor.types import Sink, Update

__all__ = ["NAMES", "default_sinks", "load_sinks"]

log = logging.getLogger("rm_monitor")

# Name in `report_to` -> module and class here, and the package it needs.
_SINKS = {
    "wandb": ("rm_monitor.sinks.wandb", "WandbSink", "wandb"),
    "trackio": ("rm_monitor.sinks.trackio", "TrackioSink", "trackio"),
    "tensorboard": ("rm_monitor.sinks.tensorboard", "TensorBoardSink", "tensorboard"),
    "mlflow": ("rm_monitor.sinks.mlflow", "MLflowSink", "mlflow"),
}
# Likewise, by one class; those whose open run cannot be found are given as objects.
_OPEN_RUNS = {"comet_ml": "comet_ml", "swanlab": "swanlab", "clearml": "clearml"}
_GIVEN = ("dvclive", "neptune", "aim")
NAMES = (*_SINKS, *_OPEN_RUNS)
GROUP = "rm_monitor.sinks"  # of entry points


def load_sinks(report_to: Any = None) -> list[Sink]:
    """The console and the page, and what is asked for.

    Args:
        report_to: None or ``"none"``: nothing further; ``"all"``: every logger that is installed; a name or
            names; ``{name: options}``, as in ``{"wandb": {"log_best": "upload"}}``; `Sink` objects; functions
            of an `Update`.

    Raises:
        ValueError: If a name is unknown.
        ImportError: If a logger that was named is not installed.

    Example:
        >>> [type(sink).__name__ for sink in load_sinks("none")]
        ['PageSink', 'ConsoleSink']
    """
    from rm_monitor.sinks.console import ConsoleSink  # noqa: PLC0415  each sink pays for itself only
    from rm_monitor.sinks.notebook import NotebookSink, in_notebook  # noqa: PLC0415
    from rm_monitor.sinks.page import PageSink  # noqa: PLC0415

    asked: Sequence[Any] = report_to if isinstance(report_to, (list, tuple)) else [report_to]
    cards = [NotebookSink()] if in_notebook() else []
    console = ConsoleSink(only_alarms=bool(cards))  # the card says the rest
    return [PageSink(), console, *cards, *(sink for given in asked for sink in _load(given))]


def default_sinks(report_to: Sequence[str | Sink] = ()) -> list[Sink]:
    """The sinks when the user asked for none: what the Trainer reports to, and W&B if a run is open.

    A logger that we have no sink for is named in the log. A host whose loggers all want its own step gives
    sinks in place of names, and nobody else is asked.

    Example:
        >>> [type(sink).__name__ for sink in default_sinks(["none"])]
        ['PageSink', 'ConsoleSink', 'WandbSink']
    """
    if any(not isinstance(given, str) for given in report_to):
        return load_sinks(report_to)
    for name in report_to:
        if name in _GIVEN:
            log.warning(
                "rm_monitor cannot find the open run of %r, which the Trainer reports to: give it, "
                "report_to=[OpenRunSink(%r, run=...)] (rm_monitor.sinks.open_run)",
                name,
                name,
            )
        elif name != "none" and name not in NAMES and name not in _others():
            log.warning(
                "rm_monitor has no sink for %r, which the Trainer reports to: the numbers are in the "
                "history, on the page and in the Trainer's log_history. A function of an Update in "
                "report_to= can pass them on.",
                name,
            )
    known: list[Any] = [
        name for name in report_to if (name in NAMES or name in _others()) and name != "wandb"
    ]
    return load_sinks([*known, "wandb"])  # the W&B sink is silent while no run is open


def _load(given: Any) -> list[Sink]:
    if given in (None, "none"):
        return []
    if given == "all":
        packages = {name: package for name, (_, _, package) in _SINKS.items()} | _OPEN_RUNS
        return [_named(name) for name, package in packages.items() if find_spec(package)]
    if isinstance(given, str):
        return [_named(given)]
    if isinstance(given, Mapping):
        return [_named(name, **(options or {})) for name, options in given.items()]
    if isinstance(given, Sink):
        return [given]
    if callable(given):
        return [FunctionSink(given)]
    raise ValueError(f"`report_to` takes names, sinks or functions, got {type(given).__name__}")


def _named(name: str, **options: Any) -> Sink:
    others = _others()
    if name in others:
        built: Sink = bring(others[name], **options)
        return built
    if name in _OPEN_RUNS:
        from rm_monitor.sinks.open_run import OpenRunSink  # noqa: PLC0415  where it is asked for

        _need(name, _OPEN_RUNS[name], name.replace("_", "-"))
        return OpenRunSink(name, **options)
    if name in _GIVEN:
        raise ValueError(
            f"{name}'s open run cannot be found: report_to=[OpenRunSink({name!r}, run=...)] gives it "
            "(rm_monitor.sinks.open_run)"
        )
    if name not in _SINKS:
        raise ValueError(
            f"`report_to` {name!r} is no sink; the sinks are {sorted({*NAMES, *others})}, 'all', 'none', or "
            f"objects with a `show` method"
        )
    module, cls, package = _SINKS[name]
    _need(name, package, f"'rm_monitor[{name}]'")
    sink: Sink = getattr(import_module(module), cls)(**options)
    return sink


def _need(name: str, package: str, install: str) -> None:
    if find_spec(package) is None:
        raise ImportError(f"`report_to` {name!r} needs a package: pip install {install}")


def _others() -> dict[str, EntryPoint]:
    """Sinks that other packages bring, by name; ours go first."""
    return {name: point for name, point in brought(GROUP).items() if name not in NAMES}


class FunctionSink:
    """A function as a sink."""

    def __init__(self, function: Callable[[Update], Any]) -> None:
        self._function = function

    def show(self, update: Update) -> None:
        """Call it."""
        self._function(update)
