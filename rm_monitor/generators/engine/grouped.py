"""Rows in flight on a CPU, and wherever no paged attention is: in groups of like length over one `Arena`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention as sdpa

from rm_monitor.generators.engine.arena import Arena, Group
from rm_monitor.generators.engine.attention import Forward
from rm_monitor.generators.engine.choosing import Chooser, Said
from rm_monitor.generators.engine.layout import Layout
from rm_monitor.generators.engine.prefill import SIZE, Chunk, chunks, families_of
from rm_monitor.generators.engine.rows import Table
from rm_monitor.generators.engine.schedule import shared_prefix

__all__ = ["Grouped"]

IntArray = NDArray[np.int64]
NOTHING = torch.zeros(0, dtype=torch.int64)


@dataclass(slots=True)
class Piece:
    """A run of a prompt: ``length`` tokens after ``past`` others of the row that begins at ``base``."""

    length: int
    base: int
    past: int

    def attend(
        self, query: Tensor, keys: Tensor, values: Tensor, scaling: float | None, window: int | None
    ) -> Tensor:
        """``(length, heads, width)`` from queries of that shape."""
        end = self.base + self.past + self.length
        q = query.transpose(0, 1)[None]
        k, v = keys[None, :, self.base : end], values[None, :, self.base : end]
        groups = q.shape[1] // k.shape[1]
        if groups > 1:
            k, v = k.repeat_interleave(groups, 1), v.repeat_interleave(groups, 1)
        limited = window is not None and window < self.past + self.length
        if self.past == 0 and not limited:
            out = sdpa(q, k, v, is_causal=True, scale=scaling)
        else:
            seen = torch.ones(self.length, self.past + self.length, dtype=torch.bool, device=q.device)
            seen = seen.tril(self.past)
            if window is not None and limited:
                seen = seen.triu(self.past - window + 1)
            out = sdpa(q, k, v, attn_mask=seen, scale=scaling)
        return out[0].transpose(0, 1)


@dataclass(slots=True)
class Rows:
    """One group's rows with their next tokens.

    Attributes:
        length: Rows.
        offset: First slot of the group.
        capacity: Slots a row.
        own: ``(rows,)`` each token's place in its row.
        bias: ``(rows, 1, 1, columns)``: 0 where a token sees, else -inf; columns are the slots that are read.
    """

    length: int
    offset: int
    capacity: int
    own: Tensor
    bias: Tensor

    def attend(
        self, query: Tensor, keys: Tensor, values: Tensor, scaling: float | None, window: int | None
    ) -> Tensor:
        """``(rows, heads, width)`` from queries of that shape."""
        n, heads, (_, queries, width) = self.length, keys.shape[0], query.shape
        q = query.reshape(n, heads, queries // heads, width)
        self.bias = self.bias.to(q.dtype)  # mixed precision: once a step, not once a layer
        bias = self.bias if window is None else self._limited(window)
        out = sdpa(q, self._read(keys), self._read(values), attn_mask=bias, scale=scaling)
        return out.reshape(n, queries, -1)

    def _limited(self, window: int) -> Tensor:
        places = torch.arange(self.bias.shape[-1], device=self.bias.device)
        return self.bias.masked_fill((places <= self.own[:, None] - window)[:, None, None], -torch.inf)

    def _read(self, line: Tensor) -> Tensor:
        mine = line[:, self.offset : self.offset + self.length * self.capacity]
        rows = mine.view(line.shape[0], self.length, self.capacity, -1)
        return rows[:, :, : self.bias.shape[-1]].transpose(0, 1)


@dataclass(slots=True)
class Lines:
    """A step over an arena: one part after the other."""

    arena: Arena
    slots: Tensor
    parts: Sequence[Piece | Rows]

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
        keys, values = self.arena.write(layer, self.slots, key.transpose(0, 1), value.transpose(0, 1))
        out, begin = [], 0
        for part in self.parts:
            out.append(part.attend(query[begin : begin + part.length], keys, values, scaling, window))
            begin += part.length
        return out[0] if len(out) == 1 else torch.cat(out)


class Grouped:
    """A `Flight` whose keys and values lie in groups.

    Args:
        table: Rows.
        forward: The model's.
        chooser: Of next tokens.
        device: Where the model is.
    """

    def __init__(self, table: Table, forward: Forward, chooser: Chooser, device: torch.device) -> None:
        self._table, self._forward, self._chooser, self._device = table, forward, chooser, device
        self._keys = table.keys.to(device)
        self._layout = Layout(table.size + table.longest, shared_prefix(table.jobs))
        self._prefill_common_beginning()

    @property
    def rows(self) -> IntArray:
        """Rows in flight, in the order in which their tokens are packed."""
        return self._layout.rows

    def _prefill_common_beginning(self) -> None:
        for start in range(0, self._layout.prefix, SIZE):
            at = np.arange(start, min(start + SIZE, self._layout.prefix))
            parts = [Piece(length=len(at), base=1, past=start)]
            self._run(self._table.jobs[0].ids[at], at, 1 + at, parts, NOTHING)
        self._forward.facts.prefilled += self._layout.prefix

    def admit(self, new: Sequence[int]) -> Iterator[Said]:
        """See `Flight`."""
        self._layout.form(new, self._table.size[list(new)].tolist())
        families = families_of(self._table.jobs, new)
        prompts = {rows[0]: self._table.jobs[rows[0]].ids for rows in families.values()}
        for chunk in chunks(prompts, self._layout.prefix):
            logits = self._prefill(chunk)
            rows, which = chunk.answered(self._table.jobs, families)
            for leader in chunk.finished:
                self._share(leader, families[self._table.jobs[leader].prompt])
            if rows:
                yield self._said(np.array(rows), logits[torch.tensor(which, device=self._device)])

    def _prefill(self, chunk: Chunk) -> Tensor:
        base, jobs = self._layout.base, self._table.jobs
        ids = np.concatenate([jobs[i].ids[a:b] for i, a, b in chunk.pieces])
        places = np.concatenate([np.arange(a, b) for _, a, b in chunk.pieces])
        slots = np.concatenate([base[i] + np.arange(a, b) for i, a, b in chunk.pieces])
        parts = [Piece(length=b - a, base=int(base[i]), past=a) for i, a, b in chunk.pieces]
        self._forward.facts.prefilled += len(ids)
        return self._run(ids, places, slots, parts, torch.from_numpy(chunk.ends))

    def _share(self, leader: int, family: Sequence[int]) -> None:
        """The samples of a prompt start from copies."""
        self._layout.length[list(family)] = self._table.size[leader]
        own = np.arange(self._layout.prefix, self._table.size[leader])
        for i in family[1:]:
            self._layout.arena.copy(self._layout.base[leader] + own, self._layout.base[i] + own)

    def step(self) -> Said:
        """See `Flight`."""
        layout = self._layout
        layout.tidy()
        if not layout.fits():
            layout.form()
        rows = layout.rows
        places = layout.length[rows]
        parts = [self._part(group) for group in layout.groups]
        logits = self._run(self._table.last(rows), places, layout.base[rows] + places, parts, None)
        layout.length[rows] += 1
        self._forward.facts.row_steps += len(rows)
        return self._said(rows, logits)

    def remove(self, rows: Sequence[int]) -> None:
        """See `Flight`."""
        for row in rows:
            self._layout.remove(row)

    def _part(self, group: Group) -> Rows:
        own = self._layout.length[group.rows]
        unseen = np.arange(int(own.max()) + 1) > own[:, None]
        bias = torch.from_numpy(np.where(unseen, -np.inf, 0.0).astype(np.float32)[:, None, None])
        here = bias.to(self._device, self._forward.model.dtype)
        return Rows(len(own), group.offset, group.capacity, torch.from_numpy(own).to(self._device), here)

    def _run(
        self,
        ids: IntArray,
        places: IntArray,
        slots: IntArray,
        parts: Sequence[Piece | Rows],
        keep: Tensor | None,
    ) -> Tensor:
        here = [torch.from_numpy(one).to(self._device) for one in (ids, places, slots)]
        step = Lines(self._layout.arena, here[2], parts)
        return self._forward(here[0], here[1], step, None if keep is None else keep.to(self._device))

    def _said(self, rows: IntArray, logits: Tensor) -> Said:
        at = torch.from_numpy(rows).to(self._device)
        keys = self._keys.index_select(0, at)
        positions = torch.from_numpy(self._table.count[rows].astype(np.int32)).to(self._device)
        _, found = self._chooser.look(logits, keys, positions)
        tokens, facts, _ = self._chooser.read(found, logits, keys, positions)
        return Said(rows, tokens, facts)
