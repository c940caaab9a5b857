"""The border to the Trainer: nothing of ours gets out of an event and stops a training."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from rm_monitor.errors import UnsupportedSetupError

__all__ = ["guarded"]


def guarded(event: Callable[..., None]) -> Callable[..., None]:
    """A callback's event, with whatever goes wrong in it said, counted, and kept inside.

    Out go only what is the user's own (an interrupt), what ``on_error="raise"`` asks for, and a sharded model
    whose other processes wait for this one.
    """

    @wraps(event)
    def within(self: Any, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        try:
            event(self, args, state, control, **kwargs)
        except UnsupportedSetupError:
            raise
        except Exception as problem:
            if self.monitor.settings.on_error == "raise":
                raise
            step = getattr(state, "global_step", "?")
            self.parts.failures(event.__name__, f"{event.__name__} at step {step} failed", problem)

    return within
