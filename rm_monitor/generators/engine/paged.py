"""Rows in flight on a device with paged attention: steps of fixed shapes that wait for the host once.

Rows stand in a bucket of 8, 16, ... places; a row that is done leaves its place empty until the rest fits
into a smaller bucket. Between two changes of the bucket a step reads and writes the same tensors, and the
tokens that it chose are the next step's input where they are: the host learns of them by one copy.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rm_monitor.generators.engine.attention import Forward
from rm_monitor.generators.engine.choosing import Chooser, Said
from rm_monitor.generators.engine.pages import Pool
from rm_monitor.generators.engine.prefill import Chunk, chunks, families_of
from rm_monitor.generators.engine.recording import Recording
from rm_monitor.generators.engine.rows import Table
from rm_monitor.generators.engine.schedule import shared_prefix
from rm_monitor.generators.engine.varlen import Varlen

__all__ = ["Paged", "bucket_of"]

IntArray = NDArray[np.int64]

CHUNK = 8192  # prompt tokens of one forward: fewer leave a large device idle


def bucket_of(rows: int) -> int:
    """Places for so many rows: a power of two or one and a half of it, 8 at least.

    Example:
        >>> [bucket_of(n) for n in (1, 9, 13, 20, 49, 200)]
        [8, 12, 16, 24, 64, 256]
    """
    size = 8
    while size < rows:
        size = size * 3 // 2 if size & (size - 1) == 0 else size * 4 // 3
    return size


@dataclass(slots=True)
class Pages:
    """A step over a pool.

    Attributes:
        slots: ``(tokens,)`` where they are written.
        starts: ``(rows + 1,)`` int32, where each row's tokens begin.
        used: ``(rows,)`` int32, tokens of each row, these included.
        table: ``(rows, most pages)`` int32.
        most: Most tokens of a row in this step.
    """

    pool: Pool
    attention: Varlen
    slots: Tensor
    starts: Tensor
    used: Tensor
    table: Tensor
    most: int

    def attend(
        self,
        layer: int,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        scaling: float | None,
        window: int | None,
    ) -> Tensor:
        """See `Step`."""
        keys, values = self.pool.write(layer, self.slots, key, value)
        return self.attention(
            query.to(keys.dtype).contiguous(),
            keys,
            values,
            self.starts,
            None,
            self.most,
            self.table.shape[1] * self.pool.size,
            scale=scaling,
            window_size=(-1 if window is None else window - 1, 0),
            enable_gqa=query.shape[1] != key.shape[1],
            seqused_k=self.used,
            block_table=self.table,
        )


class Bucket:
    """The tensors of steps with so many places.

    Args:
        rows: Rows in it; their places come first.
        pages: ``(rows, most pages)`` their pages.
        known: What is known of all rows.
        length: ``(rows,)`` tokens whose keys and values are there.
        device: Where steps run.
    """

    def __init__(
        self, rows: IntArray, pages: NDArray[np.int32], known: Table, length: IntArray, device: torch.device
    ) -> None:
        n, size = len(rows), bucket_of(len(rows))
        self.rows = np.full(size, -1, dtype=np.int64)
        self.rows[:n] = rows
        table = np.zeros((size, pages.shape[1]), dtype=np.int32)
        table[:n] = pages
        keys = torch.zeros(size, 2, dtype=torch.int32)
        keys[:n] = known.keys[torch.from_numpy(rows)]

        def padded(values: IntArray, dtype: torch.dtype) -> Tensor:
            whole = np.zeros(size, dtype=np.int64)
            whole[:n] = values
            return torch.from_numpy(whole).to(device, dtype)

        self.table, self.keys = torch.from_numpy(table).to(device), keys.to(device)
        self.ids = padded(known.last(rows), torch.int64)
        self.places = padded(length, torch.int64)
        self.count = padded(known.count[rows], torch.int32)
        self.live = padded(np.ones(n, dtype=np.int64), torch.int32)
        self.starts = torch.arange(size + 1, dtype=torch.int32, device=device)
        self.found = torch.zeros(4, size, dtype=torch.int32, device=device)
        self.logits = torch.zeros(0, device=device)


class Paged:
    """A `Flight` whose keys and values lie in pages.

    Args:
        table: Rows.
        forward: The model's.
        chooser: Of next tokens.
        device: Where the model is.
        attention: Over pages.
        room: Slots in all.
        page: Slots of a page.
    """

    def __init__(
        self,
        table: Table,
        forward: Forward,
        chooser: Chooser,
        device: torch.device,
        *,
        attention: Varlen,
        room: int,
        page: int,
    ) -> None:
        self._table, self._forward, self._chooser, self._device = table, forward, chooser, device
        self._attention, self._page = attention, page
        most = -(-(table.size + table.longest) // page)
        self._most = most
        self._pool = Pool(min(max(room // page, int(most.max())), int(most.sum())), page)
        self._pages = np.zeros((len(table.jobs), int(most.max())), dtype=np.int32)
        self._length = np.zeros(len(table.jobs), dtype=np.int64)
        self._prefix = shared_prefix(table.jobs) // page * page
        self._flying: IntArray = np.zeros(0, dtype=np.int64)
        self._steps: tuple[Bucket, Recording] | None = None

    @property
    def rows(self) -> IntArray:
        """Rows in flight."""
        return self._flying

    # ------------------------------------------------------------------ rows come

    def admit(self, new: Sequence[int]) -> Iterator[Said]:
        """See `Flight`."""
        jobs = self._table.jobs
        families = families_of(jobs, new)
        for family in families.values():
            self._take(family[0], 0)
        prompts = {rows[0]: jobs[rows[0]].ids for rows in families.values()}
        for chunk in chunks(prompts, 0, CHUNK):
            logits = self._prefill(chunk)
            for leader in chunk.finished:
                self._share(leader, families[jobs[leader].prompt])
            rows, which = chunk.answered(jobs, families)
            if rows:
                yield self._first(np.array(rows), logits[torch.tensor(which, device=self._device)])

    def _take(self, row: int, shared: int) -> None:
        """Pages for all that a row may come to need, ``shared`` of which it has already."""
        pages = self._pool.take(int(self._most[row]) - shared)
        self._pages[row, shared : shared + len(pages)] = pages

    def _prefill(self, chunk: Chunk) -> Tensor:
        jobs = self._table.jobs
        ids = np.concatenate([jobs[i].ids[a:b] for i, a, b in chunk.pieces])
        places = np.concatenate([np.arange(a, b) for _, a, b in chunk.pieces])
        rows = np.repeat([i for i, _, _ in chunk.pieces], [b - a for _, a, b in chunk.pieces])
        slots = self._pages[rows, places // self._page] * np.int64(self._page) + places % self._page
        lengths = [b - a for _, a, b in chunk.pieces]
        numbers = [i for i, _, _ in chunk.pieces]
        here = [torch.from_numpy(one).to(self._device) for one in (ids, places, slots)]
        step = Pages(
            self._pool,
            self._attention,
            here[2],
            torch.tensor([0, *np.cumsum(lengths).tolist()], dtype=torch.int32, device=self._device),
            torch.tensor([b for _, _, b in chunk.pieces], dtype=torch.int32, device=self._device),
            torch.from_numpy(self._pages[numbers]).to(self._device),
            max(lengths),
        )
        self._forward.facts.prefilled += len(ids)
        return self._forward(here[0], here[1], step, torch.from_numpy(chunk.ends).to(self._device))

    def _share(self, leader: int, family: Sequence[int]) -> None:
        """The samples of a prompt have its whole pages together, and a copy of the last one each."""
        size = int(self._table.size[leader])
        whole = size // self._page
        for row in family[1:]:
            mine = self._pages[leader, :whole]
            self._pool.share(mine.tolist())
            self._pages[row, :whole] = mine
            self._take(row, whole)
        rest = list(family[1:]) if size % self._page else []
        if rest:
            self._pool.copy([int(self._pages[leader, whole])] * len(rest), self._pages[rest, whole].tolist())
        self._length[list(family)] = size

    def _first(self, rows: IntArray, logits: Tensor) -> Said:
        keys = self._table.keys[torch.from_numpy(rows)].to(self._device)
        positions = torch.zeros(len(rows), dtype=torch.int32, device=self._device)
        _, found = self._chooser.look(logits, keys, positions)
        tokens, facts, _ = self._chooser.read(found, logits, keys, positions)
        self._flying, self._steps = np.concatenate([self._flying, rows]), None
        return Said(rows, tokens, facts)

    # ------------------------------------------------------------------ a step

    def step(self) -> Said:
        """See `Flight`."""
        bucket, recording = self._steps or (None, None)
        if bucket is None or recording is None or bucket_of(len(self._flying)) < len(bucket.rows):
            pages, length = self._pages[self._flying], self._length[self._flying]
            bucket = Bucket(self._flying, pages, self._table, length, self._device)
            recording = Recording(partial(self._decode, bucket), self._device)
            self._steps = bucket, recording
        before = len(self._forward.facts.trajectory)
        recording()
        facts = self._forward.facts
        if len(facts.trajectory) == before:  # played again: the model's forward was not called
            facts.ran(len(bucket.rows), len(bucket.rows))
        facts.row_steps += len(bucket.rows)
        tokens, sharpness, wide = self._chooser.read(
            bucket.found, bucket.logits, bucket.keys, bucket.count - 1
        )
        here = bucket.rows >= 0
        if here[wide].any():
            at = torch.from_numpy(wide).to(self._device)
            bucket.ids.index_copy_(0, at, torch.from_numpy(tokens[wide]).to(self._device))
        self._length[bucket.rows[here]] += 1
        return Said(bucket.rows[here], tokens[here], sharpness[:, here])

    def _decode(self, bucket: Bucket) -> None:
        """The part that a device can record: no value decides on a shape, and nothing comes to the host."""
        size = self._page
        places = bucket.places * bucket.live
        table = bucket.table * bucket.live[:, None]
        slots = table.gather(1, (places // size)[:, None])[:, 0].long() * size + places % size
        used = (places + 1).to(torch.int32)
        step = Pages(self._pool, self._attention, slots, bucket.starts, used, table, 1)
        bucket.logits = self._forward(bucket.ids, places, step)
        tokens, found = self._chooser.look(bucket.logits, bucket.keys, bucket.count)
        bucket.found.copy_(found)
        bucket.ids.copy_(tokens)
        bucket.places += bucket.live
        bucket.count += 1

    def remove(self, rows: Sequence[int]) -> None:
        """See `Flight`."""
        gone = np.isin(self._flying, rows)
        for row in self._flying[gone].tolist():
            self._pool.give(self._pages[row, : self._most[row]].tolist())
        self._flying = self._flying[~gone]
        bucket = self._steps[0] if self._steps is not None else None
        if bucket is not None and len(self._flying):
            bucket.rows[np.isin(bucket.rows, rows)] = -1
            bucket.live.copy_(torch.from_numpy((bucket.rows >= 0).astype(np.int32)), non_blocking=True)
