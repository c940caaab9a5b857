"""The border to the Trainer: nothing of ours gets out of an event and stops a training."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

from rm_monitor.errors import FirstEvaluationError, UnsupportedSetupError
from rm_monitor.monitor.parts import Parts
from rm_monitor.monitor.run import Run

__all__ = ["guarded", "inside"]


def guarded(event: Callable[..., None]) -> Callable[..., None]:
    """A callback's event, with whatever goes wrong in it said, counted, and kept inside.

    Out go only what is the user's own (an interrupt), what ``on_error="raise"`` asks for, and a sharded model
    whose other processes wait for this one.
    """

    @wraps(event)
    def within(self: Any, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self._late is not None and event.__name__ != "on_step_end":
            return  # the run has not begun; it may at the end of a step
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


@contextmanager
def inside(parts: Parts, run: Run, step: int) -> Iterator[list[str]]:
    """The same for a hand-written loop: what went wrong is said, and is in the list that is handed out.

    Out go also what is refused before anything is lost: the first contact of a run with the model.

    Args:
        parts: Whose failures are counted, and what the user asked for.
        run: The run.
        step: Optimizer step.
    """
    failed: list[str] = []
    try:
        yield failed
    except (FirstEvaluationError, UnsupportedSetupError):
        raise
    except Exception as problem:
        if parts.settings.on_error == "raise" or not run.touched:
            raise
        failed.append(f"{type(problem).__name__}: {problem}")
        parts.failures("monitor", f"step {step} could not be judged; training goes on", problem)
