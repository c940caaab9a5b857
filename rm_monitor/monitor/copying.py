"""Whether a monitor can go to another process, as a copy in a pickle."""

from __future__ import annotations

import pickle
from typing import Any

from rm_monitor.monitor.settings import Settings

__all__ = ["refuse_unpicklable"]


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
