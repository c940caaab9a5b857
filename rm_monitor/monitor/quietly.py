"""Other people's code is run so that training does not notice; what is said costs nothing."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext, suppress

__all__ = ["quietly", "say"]


def quietly() -> AbstractContextManager[None]:
    """Random states are put back; without torch in this process there is no training to disturb."""
    if "torch" not in sys.modules:
        return nullcontext()
    from rm_monitor.training.undisturbed import undisturbed  # noqa: PLC0415

    return undisturbed()


def say(text: str) -> None:
    """Say it where a person looks; a terminal that is gone costs nothing."""
    from rm_monitor.sinks.console import say as on_console  # noqa: PLC0415  a sink pays for itself only

    with suppress(OSError, ValueError):  # a closed or broken standard output
        on_console(text)
