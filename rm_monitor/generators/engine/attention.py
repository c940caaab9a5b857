"""Attention over an `Arena`, hung into a model through transformers' attention interface.

The model's own forward runs on one long row of packed tokens; only where it attends, every token sees the
row that it belongs to. Positions come from ``position_ids``, so nothing else in the model knows about rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention as sdpa

from rm_monitor.generators.engine.arena import Arena
from rm_monitor.packed.interface import refuse_unknown, through
from rm_monitor.packed.scope import OutOfScope

__all__ = ["Piece", "Rows", "Step", "attending"]

NAME = "rm_monitor_engine"
_step: ContextVar[Step | None] = ContextVar("rm_monitor_engine_step", default=None)


@dataclass(slots=True)
class Piece:
    """A run of a prompt: ``length`` tokens after ``past`` others of the row that begins at ``base``."""

    length: int
    base: int
    past: int

    def attend(self, query: Tensor, keys: Tensor, values: Tensor, scaling: float | None) -> Tensor:
        """``(length, heads, width)`` from queries of that shape."""
        end = self.base + self.past + self.length
        q, k, v = (
            query.transpose(0, 1)[None],
            keys[None, :, self.base : end],
            values[None, :, self.base : end],
        )
        groups = q.shape[1] // k.shape[1]
        if groups > 1:
            k, v = k.repeat_interleave(groups, 1), v.repeat_interleave(groups, 1)
        if self.past == 0:
            out = sdpa(q, k, v, is_causal=True, scale=scaling)
        else:
            seen = torch.ones(self.length, self.past + self.length, dtype=torch.bool, device=q.device)
            out = sdpa(q, k, v, attn_mask=seen.tril(self.past), scale=scaling)
        return out[0].transpose(0, 1)


@dataclass(slots=True)
class Rows:
    """One group's rows with their next tokens.

    Attributes:
        count: Rows.
        offset: First slot of the group.
        capacity: Slots a row.
        columns: Slots of a row that are read.
        bias: ``(rows, 1, 1, columns)``: 0 where a token sees, else -inf.
    """

    count: int
    offset: int
    capacity: int
    columns: int
    bias: Tensor

    def attend(self, query: Tensor, keys: Tensor, values: Tensor, scaling: float | None) -> Tensor:
        """``(rows, heads, width)`` from queries of that shape."""
        n, heads, (_, queries, width) = self.count, keys.shape[0], query.shape
        q = query.reshape(n, heads, queries // heads, width)
        bias = self.bias.to(q.dtype)
        out = sdpa(q, self._read(keys), self._read(values), attn_mask=bias, scale=scaling)
        return out.reshape(n, queries, -1)

    def _read(self, line: Tensor) -> Tensor:
        mine = line[:, self.offset : self.offset + self.count * self.capacity]
        return mine.view(line.shape[0], self.count, self.capacity, -1)[:, :, : self.columns].transpose(0, 1)


@dataclass(slots=True)
class Step:
    """What one forward is about: which slots its packed tokens are written to, and what each of them sees."""

    arena: Arena
    slots: Tensor
    parts: Sequence[tuple[int, Piece | Rows]]
    layers: set[int] = field(default_factory=set)

    def __enter__(self) -> Step:
        _step.set(self)
        return self

    def __exit__(self, *_: object) -> None:
        _step.set(None)


def _attend(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    step = _step.get()
    if step is None:
        raise OutOfScope("its attention ran outside a step of the engine")
    refuse_unknown(attention_mask, dropout, others)
    keys, values = step.arena.write(module.layer_idx, step.slots, key[0], value[0])
    step.layers.add(module.layer_idx)
    packed = query[0].transpose(0, 1)
    out, begin = [], 0
    for tokens, part in step.parts:
        out.append(part.attend(packed[begin : begin + tokens], keys, values, scaling))
        begin += tokens
    return (out[0] if len(out) == 1 else torch.cat(out))[None], None


def attending(model: Any) -> AbstractContextManager[None]:
    """Inside, the model's attention is ours; what it was comes back whatever happens."""
    return through(model, NAME, _attend)
