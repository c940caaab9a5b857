"""What the Trainer that calls a callback is doing, as its own objects say.

A callback is handed arguments, state and control, not the Trainer: where a trial of a hyperparameter search
saves, which callbacks come after ours, and whether a scheduler is about to be stepped are not among them. The
Trainer is above us on the stack, so it is asked. In a host that is none, nothing is found and the plain rules
of a Trainer hold.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

__all__ = ["Host", "host_of"]

_DEPTH = 40  # frames looked at; the Trainer is 3 to 5 above a callback


@dataclass(frozen=True, slots=True)
class Host:
    """What calls a callback.

    Attributes:
        trainer: The Trainer; None in a host that is none.
        handler: What holds the callbacks; None likewise.
        trial: The present trial of a hyperparameter search; None outside one.
        steps_scheduler: The Trainer steps a scheduler by the metrics of the evaluation that is going on.
    """

    trainer: Any = None
    handler: Any = None
    trial: Any = None
    steps_scheduler: bool = False

    def output_dir(self, args: Any) -> Path:
        """Where this training saves, by the Trainer's own function; a trial has a folder of its own."""
        where = getattr(self.trainer, "_get_output_dir", None)
        return Path(where(self.trial) if where is not None else args.output_dir)

    @property
    def sums_metrics(self) -> bool:
        """Whether a search is on that takes the sum of all metrics it finds as its objective."""
        objective = getattr(self.trainer, "compute_objective", None)
        return self.trial is not None and getattr(objective, "__name__", "") == "default_compute_objective"

    def move_last(self, callback: Any) -> None:
        """Let a callback be called after all others: it must know what they decided.

        The list is replaced, not changed: the handler is going through it.
        """
        if self.handler is not None and self.handler.callbacks[-1] is not callback:
            others = [other for other in self.handler.callbacks if other is not callback]
            self.handler.callbacks = [*others, callback]

    def others(self, callback: Any) -> list[Any]:
        """Further callbacks of the same class, in order."""
        there = [] if self.handler is None else self.handler.callbacks
        return [other for other in there if type(other) is type(callback) and other is not callback]


def host_of(callback: Any) -> Host:
    """The host of a callback, found from within one of its events.

    Args:
        callback: The callback whose event is going on.
    """
    handler, trainer, trial, evaluates = None, None, None, False
    frame: FrameType | None = sys._getframe(1)
    for _ in range(_DEPTH):
        if frame is None:
            break
        own = frame.f_locals.get("self")
        if handler is None and callback in (getattr(own, "callbacks", None) or ()):
            handler = own
        elif handler is not None and getattr(own, "callback_handler", None) is handler:
            trainer = own
            trial = trial if trial is not None else frame.f_locals.get("trial")
            if frame.f_code.co_name == "_evaluate":
                evaluates = not frame.f_locals.get("skip_scheduler", False)
        frame = frame.f_back
    return Host(trainer, handler, trial, evaluates)
