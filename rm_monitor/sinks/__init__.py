"""Places where evaluations are shown; one plug-in a file, loaded by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

from rm_monitor.types import Sink, Update

__all__ = ["NAMES", "load_sinks"]

# Name in `report_to` -> module and class. What the Trainer reports to and we have no sink for is left out
# silently only if the Trainer asked for it.
_SINKS = {
    "wandb": ("rm_monitor.sinks.wandb", "WandbSink"),
    "trackio": ("rm_monitor.sinks.trackio", "TrackioSink"),
    "tensorboard": ("rm_monitor.sinks.tensorboard", "TensorBoardSink"),
    "mlflow": ("rm_monitor.sinks.mlflow", "MLflowSink"),
}
NAMES = tuple(_SINKS)


def load_sinks(report_to: Any = None) -> list[Sink]:
    """The console and the page, and what is asked for.

    Args:
        report_to: None or ``"none"``: nothing further; ``"all"``; a name or names; `Sink` objects;
            functions of an `Update`.

    Raises:
        ValueError: If a name is unknown.

    Example:
        >>> [type(sink).__name__ for sink in load_sinks("none")]
        ['PageSink', 'ConsoleSink']
    """
    from rm_monitor.sinks.console import ConsoleSink  # noqa: PLC0415  each sink pays for itself only
    from rm_monitor.sinks.page import PageSink  # noqa: PLC0415

    asked: Sequence[Any] = report_to if isinstance(report_to, (list, tuple)) else [report_to]
    return [PageSink(), ConsoleSink(), *(sink for given in asked for sink in _load(given))]


def _load(given: Any) -> list[Sink]:
    if given in (None, "none"):
        return []
    if given == "all":
        given = "wandb"
    if isinstance(given, str):
        if given not in _SINKS:
            raise ValueError(
                f"`report_to` {given!r} is no sink; the sinks are {sorted(_SINKS)}, 'none', or "
                f"objects with a `show` method"
            )
        module, name = _SINKS[given]
        sink: Sink = getattr(import_module(module), name)()
        return [sink]
    if isinstance(given, Sink):
        return [given]
    if callable(given):
        return [FunctionSink(given)]
    raise ValueError(f"`report_to` takes names, sinks or functions, got {type(given).__name__}")


class FunctionSink:
    """A function as a sink."""

    def __init__(self, function: Callable[[Update], Any]) -> None:
        self._function = function

    def show(self, update: Update) -> None:
        """Call it."""
        self._function(update)
