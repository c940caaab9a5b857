"""When may a checkpoint that another process is writing be read?

The Trainer writes weights in place, under the final name, and ``trainer_state.json`` last, not atomically;
other ranks may still be writing then. So a folder is ready when it is complete
(`rm_monitor.checkpoints.disk`) and has not changed for a while.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path

from rm_monitor.sweep.discover import Found

__all__ = ["Settling", "due_steps", "is_last", "stamp"]

log = logging.getLogger("rm_monitor")

MOST_DUE = 10_000  # saves of one job

Stamp = tuple[tuple[str, int, int], ...]


def stamp(folder: Path) -> Stamp:
    """Name, size and modification time in ns of every file; empty when the folder is gone."""
    found = []
    try:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                facts = path.stat()
                found.append((str(path.relative_to(folder)), facts.st_size, facts.st_mtime_ns))
    except OSError:  # rotated away while we looked
        return ()
    return tuple(found)


def is_last(folder: Path) -> bool:
    """Whether the Trainer says that training ends at this checkpoint.

    Example:
        >>> is_last(Path("no such folder"))
        False
    """
    state = _trainer_state(folder)
    return 0 < state.get("max_steps", 0) <= state.get("global_step", 0)


def due_steps(found: Sequence[Found]) -> set[int]:
    """Steps that a Trainer has saved by now, those already deleted included; empty if that cannot be told.

    ``trainer_state.json`` holds ``save_steps`` whatever the strategy, so it is believed only if every step
    on disk is a multiple of it, or the last.
    """
    states = {f.step: state for f in found if (state := _trainer_state(f.path))}
    if not states:
        return set()
    newest = max(states)
    every = states[newest].get("save_steps", 0)
    if every < 1 or any(step % every and step != states[step].get("max_steps") for step in states):
        return set()
    if newest // every > MOST_DUE:  # a number from a file is no size: a real job has saved far less often
        log.warning(
            "rm_monitor: trainer_state.json of step %d tells of %d saves: only steps that were seen are gaps",
            *(newest, newest // every),
        )
        return set()
    return set(range(every, newest + 1, every))


def _trainer_state(folder: Path) -> dict[str, int]:
    """The whole numbers of ``trainer_state.json``; empty if it is not there, or not whole."""
    try:
        state = json.loads((folder / "trainer_state.json").read_text(encoding="utf-8"))
        return {name: value for name, value in state.items() if isinstance(value, int)}
    except (OSError, ValueError, AttributeError):
        return {}


class Settling:
    """Remembers how each checkpoint looked, to tell which have come to rest.

    Args:
        rest: Seconds without a change before a checkpoint is read.
    """

    def __init__(self, rest: float) -> None:
        self._rest = rest
        self._seen: dict[Path, tuple[Stamp, float]] = {}

    def ready(self, found: Found, now: float) -> bool:
        """Whether it is complete and has looked the same for long enough.

        Args:
            found: A checkpoint.
            now: Seconds of the caller's clock, which never goes back.
        """
        looks = stamp(found.path)
        before = self._seen.get(found.path)
        if before is None or before[0] != looks:
            self._seen[found.path] = (looks, now)
            before = self._seen[found.path]
        return found.problem is None and bool(looks) and now - before[1] >= self._rest
