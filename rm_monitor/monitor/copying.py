"""Whether a monitor can go to another process, as a copy in a pickle."""

from __future__ import annotations

import copy
import pickle
from typing import Any

from rm_monitor.monitor.parts import Parts
from rm_monitor.monitor.run import Run
from rm_monitor.monitor.settings import Settings

__all__ = ["Copied", "refuse_unpicklable"]


def refuse_unpicklable(settings: Settings) -> None:
    """Name the argument that pickle cannot take, before pickle says what only its author understands.

    Raises:
        TypeError: Which argument, and the way out.
    """
    given = {
        "reward_model": settings.scorers,
        "generator": settings.generator,
        "report_to": settings.report_to,
        "kl": settings.kl,
    }
    for name, value in given.items():
        try:
            pickle.Pickler(_Nowhere()).dump(value)
        except Exception as problem:
            raise TypeError(
                f"`{name}` cannot be pickled ({problem}), so this monitor cannot go to another process: give "
                "a function or class of a module instead of a lambda or a local one, or a path"
            ) from problem


class _Nowhere:
    """Takes a pickle and keeps nothing of it."""

    def write(self, data: Any) -> int:
        return len(data)


class Copied:
    """A monitor that is copied or sent to another process: settings and judges go along, a run stays."""

    _parts: Parts
    _run: Run | None

    def __getstate__(self) -> dict[str, Any]:
        """What a copy in another process is made of; a run that is open stays with this one.

        Raises:
            TypeError: Which argument cannot be pickled, and the way out.
        """
        refuse_unpicklable(self._parts.settings)
        return {"_parts": self._parts, "_run": None}

    def __deepcopy__(self, memo: dict[int, Any]) -> Copied:
        """A monitor of its own with the same settings and judges, and no run yet."""
        copied = object.__new__(type(self))
        memo[id(self)] = copied
        copied.__dict__.update(_parts=copy.deepcopy(self._parts, memo), _run=None)
        return copied
