"""Several processes: prompts by stride, one agreement an evaluation, rank 0 decides.

Everything goes over a gloo group of our own with a long timeout: waiting there does not arm the training's
NCCL watchdog, and
a fault of ours does not break the training's group.
"""

from __future__ import annotations

import itertools
import logging
import os
import pickle
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

from rm_monitor.errors import RanksLostError
from rm_monitor.text.waiting import LINE, Waiting

__all__ = ["Ranks", "scores_here"]

log = logging.getLogger("rm_monitor")

T = TypeVar("T")
SOON = 5.0  # seconds after which ranks that have not come are named
COMES = 900.0  # seconds within which every rank comes: rank 0 may be loading the reward model
TIMEOUT = timedelta(
    hours=6
)  # a timeout breaks a gloo group for good, so it must be longer than any evaluation


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranks:
    """The processes of a run, as one of them sees it.

    Attributes:
        rank: Number of this process.
        size: How many there are.
        group: Our gloo group; None when there is one process.

    Example:
        >>> ranks = Ranks.alone()
        >>> ranks.share(["a", "b"]), ranks.agree("mine", None), ranks.broadcast(7)
        ([(0, 'a'), (1, 'b')], (['mine'], {}), 7)
    """

    rank: int = 0
    size: int = 1
    group: Any = None

    @classmethod
    def alone(cls) -> Ranks:
        """One process."""
        return cls()

    @classmethod
    def current(cls) -> Ranks:
        """The processes of ``torch.distributed``, if it is running. A collective: every rank calls it.

        Raises:
            RanksLostError: If a rank does not: ``if rank == 0: monitor.step(...)``.
        """
        import torch.distributed as dist  # noqa: PLC0415  needs torch

        if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
            return cls()
        _all_come(dist)
        group = dist.new_group(backend="gloo", timeout=TIMEOUT)
        return cls(rank=dist.get_rank(), size=dist.get_world_size(), group=group)

    @property
    def is_first(self) -> bool:
        """Whether this process scores, writes and decides."""
        return self.rank == 0

    def share(self, items: Sequence[T]) -> list[tuple[int, T]]:
        """This process's part, by stride, each item with its index; parts may be uneven or empty."""
        return [(i, items[i]) for i in range(self.rank, len(items), self.size)]

    def largest_share(self, n: int) -> int:
        """Of ``n`` items, what the rank with the most has."""
        return -(-n // self.size)

    def agree(self, payload: T | None, error: BaseException | None) -> tuple[list[T | None], dict[int, str]]:
        """Every rank's payload and the errors of those that failed. Each rank must call it, failed or not.

        A payload that cannot be sent is an error of its rank, found before anyone waits.

        Raises:
            RanksLostError: If a rank did not come.
        """
        if self.group is None:
            return [payload], {} if error is None else {self.rank: _in_words(error)}
        why = _unsendable(payload) if error is None else _in_words(error)
        mine = (None, why) if why else (payload, None)
        box = self._together(lambda dist: _all_gather(dist, mine, self.size, self.group))
        return [p for p, _ in box], {rank: text for rank, (_, text) in enumerate(box) if text is not None}

    def broadcast(self, value: T | None) -> T:
        """Rank 0's value, on every rank.

        Raises:
            RanksLostError: If a rank did not come; on every rank, if the value cannot be sent.
        """
        if self.group is None:
            alone: Any = value
            return alone  # type: ignore[no-any-return]
        problem = "" if not self.is_first else _unsendable(value)
        box: list[Any] = [(None if problem else value, problem)]
        self._together(lambda dist: dist.broadcast_object_list(box, src=0, group=self.group))
        first, problem = box[0]
        if problem:
            raise RanksLostError(f"rank 0's decision cannot be sent: {problem}")
        return first  # type: ignore[no-any-return]

    def _together(self, collective: Callable[[Any], Any]) -> Any:
        import torch.distributed as dist  # noqa: PLC0415

        said = Waiting(f"rank {self.rank} of {self.size} waits for the other ranks")
        try:
            with said:
                return collective(dist)
        except Exception as problem:
            raise RanksLostError(
                f"rank {self.rank} of {self.size} waited for the others in vain "
                f"({type(problem).__name__}: {problem}); "
                "a process died or is stuck, and this run is not monitored any further"
            ) from problem


def scores_here() -> bool:
    """Whether this process is, as far as can be told now, the one that scores.

    ``torch.distributed`` knows, once it runs. Before that a launcher's ``RANK`` is a hint, which
    `Ranks.current` overrules when a run begins: independent jobs may have one too.
    """
    dist = sys.modules.get("torch.distributed")
    if dist is not None and dist.is_available() and dist.is_initialized():
        return bool(dist.get_rank() == 0)
    world, rank = os.environ.get("WORLD_SIZE", ""), os.environ.get("RANK", "")
    return not (world.isdigit() and int(world) > 1 and rank.isdigit() and int(rank) > 0)


_meetings = itertools.count()  # of this process: each rank counts the same


def _all_come(dist: Any) -> None:
    """Wait until every rank has called; those missing are named within seconds, and after minutes it is over.

    Making a group waits in silence for ranks that never call it.

    Raises:
        RanksLostError: Which ranks did not come, and what to do.
    """
    store = dist.distributed_c10d._get_default_store()
    rank, size, meeting = dist.get_rank(), dist.get_world_size(), next(_meetings)
    store.set(f"rm_monitor/{meeting}/{rank}", "here")
    began, next_line = time.monotonic(), SOON
    while missing := [r for r in range(size) if not store.check([f"rm_monitor/{meeting}/{r}"])]:
        waited = time.monotonic() - began
        names = ", ".join(map(str, missing))
        if waited > COMES:
            raise RanksLostError(
                f"rank(s) {names} of {size} did not call the monitor within {COMES:.0f} s: every rank must "
                "call it, also those that do not score (no `if rank == 0:` around monitor.step, "
                "monitor.evaluate, monitor.saved)"
            )
        if waited > next_line:
            next_line += LINE
            log.warning(
                "rm_monitor: rank %d waits for rank(s) %s to call the monitor: every rank must call it, no "
                "`if rank == 0:` around it; given up after %.0f s",
                *(rank, names, COMES),
            )
        time.sleep(min(0.2, 0.01 + waited / 10))


def _unsendable(value: Any) -> str:
    """Why a value cannot be sent; empty if it can. Found before the others wait for it."""
    try:
        pickle.dumps(value)
    except Exception as problem:
        return _in_words(problem)
    return ""


def _in_words(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"[:2000]


def _all_gather(dist: Any, mine: Any, size: int, group: Any) -> list[Any]:
    box: list[Any] = [None] * size
    dist.all_gather_object(box, mine, group=group)
    return box
