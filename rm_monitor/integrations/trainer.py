"""Every Trainer that a script builds gets the monitor's callback, without a line in the script."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rm_monitor.monitor.monitor import RewardMonitor

__all__ = ["monitored"]


@contextmanager
def monitored(build: Callable[[], RewardMonitor], **options: Any) -> Iterator[None]:
    """Add a callback behind the loggers and the script's own callbacks of every Trainer built inside.

    It stands behind the loggers because they open their runs when training begins, and a step judged before
    would be shown to nobody. A Trainer that has a `RewardMonitorCallback` of its own gets no second one.

    Args:
        build: Makes the monitor; called once, when the first Trainer is built, so that what a script sets up
            before (devices, seeds, offline switches) is as it would be.
        **options: Of `RewardMonitorCallback`.
    """
    from transformers.trainer_callback import CallbackHandler  # noqa: PLC0415  heavy

    from rm_monitor.monitor.callback import RewardMonitorCallback  # noqa: PLC0415  needs transformers

    original = CallbackHandler.__init__
    monitors: list[RewardMonitor] = []

    @wraps(original)
    def with_monitor(self: Any, callbacks: Any, *args: Any, **kwargs: Any) -> None:
        original(self, callbacks, *args, **kwargs)
        if not any(isinstance(callback, RewardMonitorCallback) for callback in self.callbacks):
            if not monitors:
                monitors.append(build())
            self.add_callback(RewardMonitorCallback(monitors[0], **options))

    CallbackHandler.__init__ = with_monitor
    try:
        yield
    finally:
        CallbackHandler.__init__ = original
