"""The sinks of a run: each is shown every evaluation, and none that fails keeps it from the others."""

from __future__ import annotations

from collections.abc import Sequence

from rm_monitor.messages.failures import FailureLog
from rm_monitor.types import ClosableSink, Signal, Sink, Update, Verdict

__all__ = ["Shown"]


class Shown:
    """Sinks, and what became of them.

    Args:
        sinks: Where evaluations are shown.
        failures: Where their failures go; training goes on.
    """

    def __init__(self, sinks: Sequence[Sink], failures: FailureLog) -> None:
        self.sinks = tuple(sinks)
        self._failures = failures
        self._told: set[tuple[str, str]] = set()

    def news(self, verdict: Verdict) -> tuple[Signal, ...]:
        """Signals of a verdict that nobody was told of yet; they count as told from now on."""
        seen = [s for s in verdict.signals if s.name != "same_reward_model"]  # said when it is found
        new = tuple(s for s in seen if (s.name, s.about) not in self._told)
        self._told |= {(s.name, s.about) for s in new}
        return new

    def show(self, update: Update) -> None:
        """Show an evaluation in every place."""
        for sink in self.sinks:
            try:
                sink.show(update)
            except Exception as problem:
                name, step = type(sink).__name__, update.point.step
                self._failures(name, f"{name} failed at step {step}; training goes on", problem)

    def close(self) -> None:
        """Let sinks send what they hold back."""
        for sink in self.sinks:
            if isinstance(sink, ClosableSink):
                try:
                    sink.close()
                except Exception as problem:
                    name = type(sink).__name__
                    self._failures(f"close {name}", f"{name} failed at the end of the run", problem)
