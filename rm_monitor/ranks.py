"""Several processes: prompts by stride, one agreement an evaluation, rank 0 decides.

Everything goes over a gloo group of our own with a long timeout: waiting there does not arm the training's
NCCL watchdog, and
a fault of ours does not break the training's group.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

__all__ = ["Ranks"]

T = TypeVar("T")
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
        """The processes of ``torch.distributed``, if it is running. A collective: every rank calls it."""
        import torch.distributed as dist  # noqa: PLC0415  needs torch

        if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
            return cls()
        group = dist.new_group(backend="gloo", timeout=TIMEOUT)
        return cls(rank=dist.get_rank(), size=dist.get_world_size(), group=group)

    @property
    def is_first(self) -> bool:
        """Whether this process scores, writes and decides."""
        return self.rank == 0

    def share(self, items: Sequence[T]) -> list[tuple[int, T]]:
        """This process's part, by stride, each item with its index; parts may be uneven or empty."""
        return [(i, items[i]) for i in range(self.rank, len(items), self.size)]

    def agree(self, payload: T, error: BaseException | None) -> tuple[list[T], dict[int, str]]:
        """Every rank's payload and the errors of those that failed. Each rank must call it, failed or not."""
        mine = (payload, None if error is None else f"{type(error).__name__}: {error}"[:2000])
        box: list[Any] = [mine]
        if self.group is not None:
            import torch.distributed as dist  # noqa: PLC0415

            box = [None] * self.size
            dist.all_gather_object(box, mine, group=self.group)
        return [p for p, _ in box], {rank: text for rank, (_, text) in enumerate(box) if text is not None}

    def broadcast(self, value: T | None) -> T:
        """Rank 0's value, on every rank."""
        box: list[Any] = [value]
        if self.group is not None:
            import torch.distributed as dist  # noqa: PLC0415

            dist.broadcast_object_list(box, src=0, group=self.group)
        first: T = box[0]
        return first
