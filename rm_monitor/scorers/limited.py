"""Somebody else's function, with a line each minute and, if asked for, an end.

A call in Python cannot be ended from outside. One that is over its time goes on in a thread of its own, what
it returns is nobody's any more, and until it has ended the next call is refused at once: never are two under
way.
"""

from __future__ import annotations

import contextvars
import threading
import time
from collections.abc import Callable
from typing import Any

from rm_monitor.errors import ScorerUnavailable
from rm_monitor.text.waiting import Waiting

__all__ = ["Limited"]


class Limited:
    """Calls a function; without a limit in the thread it is called from, with one in another.

    Args:
        function: Whose calls they are.
        name: For people.
        seconds: The longest call; None: no limit.
    """

    def __init__(self, function: Callable[..., Any], name: str, seconds: float | None) -> None:
        self._function = function
        self._name = name
        self._seconds = seconds
        self._busy: threading.Thread | None = None
        self._since = 0.0

    def __call__(self, *given: Any) -> Any:
        """What the function returns.

        Raises:
            ScorerUnavailable: If it is over its time, or an earlier call still is under way.
            Exception: What the function raises.
        """
        with Waiting(f"training waits for the judge function {self._name}"):
            return self._function(*given) if self._seconds is None else self._within(self._seconds, given)

    def _within(self, seconds: float, given: tuple[Any, ...]) -> Any:
        if self._busy is not None and self._busy.is_alive():
            raise ScorerUnavailable(
                f"the judge function {self._name} is still busy with a call of "
                f"{time.monotonic() - self._since:.0f} s ago, beyond its time_limit of {seconds:g} s"
            )
        box: list[tuple[bool, Any]] = []

        def call() -> None:
            try:
                box.append((True, self._function(*given)))
            except BaseException as problem:
                box.append((False, problem))

        around = contextvars.copy_context()
        self._since = time.monotonic()
        self._busy = threading.Thread(
            target=around.run, args=(call,), name=f"judge {self._name}", daemon=True
        )
        self._busy.start()
        self._busy.join(seconds)
        if not box:
            raise ScorerUnavailable(
                f"the judge function {self._name} did not return within its time_limit of {seconds:g} s: "
                "this evaluation is a gap; give it more, or make it faster"
            )
        self._busy = None
        fine, value = box[0]
        if not fine:
            raise value
        return value

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_busy": None}
