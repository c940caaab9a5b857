"""Rows of ids -> forwards of similar lengths, whatever the memory allows."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

import torch

from rm_monitor.errors import ScorerError, is_out_of_memory

__all__ = ["Batch", "Batcher", "Row", "Work", "collate", "plan"]

log = logging.getLogger("rm_monitor")

FULL = {"cpu": 1024, "accelerator": 16_384}  # tokens that fill it: more cost a CPU its cache
RATIO = 1.25  # longest to shortest row of a batch: 3 to 5 % of its tokens are padding


Work = tuple[Sequence[int], Callable[[], torch.Tensor]]  # row numbers, and the forward that runs them


class Row(NamedTuple):
    """One sequence and the positions whose hidden states are read."""

    ids: tuple[int, ...]
    types: tuple[int, ...] | None = None
    read: tuple[int, ...] = ()


class Batch(NamedTuple):
    """Right-padded rows.

    Attributes:
        ids: ``(b, length)`` int64.
        mask: ``(b, length)`` int64; 1 for a real token.
        types: ``(b, length)`` int64, or None.
        read: ``(b, positions)`` int64.
        rows: The rows themselves.
    """

    ids: torch.Tensor
    mask: torch.Tensor
    types: torch.Tensor | None
    read: torch.Tensor
    rows: tuple[Row, ...]


def plan(
    lengths: Sequence[int], *, budget: int, ratio: float = RATIO, switch: int | None = None
) -> list[list[int]]:
    """Batches of row numbers: longest first, within the token budget padding included, of similar length.

    A row longer than the budget is a batch of its own, and no batch holds rows on both sides of the switch.
    Equal rows stay in the order they came.

    Example:
        >>> plan([3, 100, 90, 4, 20], budget=200)
        [[1, 2], [4], [3], [0]]
        >>> plan([100, 90], budget=200, switch=95)
        [[0], [1]]
    """
    batches: list[list[int]] = []
    for i in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        if batches:
            longest = lengths[batches[-1][0]]
            apart = switch is not None and longest > switch >= lengths[i]
            if (len(batches[-1]) + 1) * longest <= budget and longest <= ratio * lengths[i] and not apart:
                batches[-1].append(i)
                continue
        batches.append([i])
    return batches


def collate(rows: Sequence[Row], *, pad_id: int, device: torch.device) -> Batch:
    """Right-pad rows; what is padded is told by the mask alone, so any ``pad_id`` will do."""
    length = max(len(row.ids) for row in rows)

    def padded(values: Sequence[Sequence[int]], fill: int) -> torch.Tensor:
        return torch.tensor([[*v, *[fill] * (length - len(v))] for v in values], device=device)

    types = [row.types for row in rows if row.types is not None]
    return Batch(
        ids=padded([row.ids for row in rows], pad_id),
        mask=padded([[1] * len(row.ids) for row in rows], 0),
        types=padded(types, 0) if types else None,
        read=torch.tensor([row.read for row in rows], device=device, dtype=torch.long),
        rows=tuple(rows),
    )


class Batcher:
    """Runs a forward over rows, in batches that fit.

    Args:
        tokens: Token budget of a batch, padding included; None: by the device.
        single: One sequence a forward and no padding: scores that repeat to the last bit.
        pad_id: What rows are filled up with; never attended to.
        switch: Length above which the network reads positions in another way: rows on both sides of it
            never share a forward.
    """

    def __init__(
        self, *, tokens: int | None = None, single: bool = False, pad_id: int = 0, switch: int | None = None
    ) -> None:
        if tokens is not None and tokens < 1:
            raise ValueError(f"`batch_tokens` must be at least 1, got {tokens}")
        self.tokens = tokens
        self.single = single
        self.pad_id = pad_id
        self.switch = switch

    def budget(self, device: torch.device) -> int:
        """Tokens of a batch there."""
        return self.tokens if self.tokens is not None else FULL.get(device.type, FULL["accelerator"])

    @property
    def policy(self) -> str:
        """Names what batching may do to the last digits of a score."""
        return "single" if self.single else "sorted-right"

    def run(
        self, rows: Sequence[Row], forward: Callable[[Batch], torch.Tensor], *, device: torch.device
    ) -> torch.Tensor:
        """``forward`` over all rows in padded batches, in the order of the rows.

        Args:
            rows: At least one.
            forward: Batch of b rows -> ``(b, ...)``.
            device: Where the batches go.

        Raises:
            ScorerError: If a single row does not fit into memory.
        """

        def padded(given: Sequence[Row]) -> torch.Tensor:
            return forward(collate(given, pad_id=self.pad_id, device=device))

        def batches(todo: Sequence[int], budget: int) -> Iterator[Work]:
            lengths = [len(rows[i].ids) for i in todo]
            for batch in plan(lengths, budget=1 if self.single else budget, switch=self.switch):
                chosen = [todo[i] for i in batch]
                yield chosen, partial(padded, [rows[i] for i in chosen])

        return self.run_as(rows, batches, device=device)

    def run_as(
        self,
        rows: Sequence[Row],
        planned: Callable[[Sequence[int], int], Iterable[Work]],
        *,
        device: torch.device,
    ) -> torch.Tensor:
        """All rows in the forwards that ``planned`` makes of them, in the order of the rows.

        Args:
            rows: At least one.
            planned: Row numbers and a token budget -> the numbers of each forward, and the forward.
            device: Where it runs.

        Raises:
            ScorerError: If a single row does not fit into memory.
        """
        outputs: dict[int, torch.Tensor] = {}
        todo = list(range(len(rows)))
        while todo:
            for chosen, forward in planned(todo, self.budget(device)):
                result = self._try(forward, [len(rows[i].ids) for i in chosen], device)
                if result is None:
                    break  # plan what is left again, with the smaller budget
                outputs.update(zip(chosen, result.cpu(), strict=True))
            todo = [i for i in todo if i not in outputs]
        return torch.stack([outputs[i] for i in range(len(rows))])

    def _try(
        self, forward: Callable[[], torch.Tensor], lengths: list[int], device: torch.device
    ) -> torch.Tensor | None:
        """The forward's result; None, and half the budget from now on, if memory ran out."""
        longest = max(lengths)
        try:
            return forward()
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            if len(lengths) == 1:
                raise ScorerError(
                    f"the reward model ran out of memory on a single input of {longest} tokens: "
                    "pass a smaller `max_length`, another `device`, or a smaller `dtype`"
                ) from error
        # Outside the handler: the exception kept the failed forward's tensors alive.
        self.tokens = max(longest, sum(lengths) // 2)
        log.warning("scoring ran out of memory; batches are at most %d tokens from now on", self.tokens)
        if device.type == "cuda":
            torch.cuda.empty_cache()
        return None
