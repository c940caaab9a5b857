"""A network on packed rows: its own forward, our attention, and its last layer only where it is read.

Nobody reads the hidden state of a prompt's tokens, nor most of an answer's. In the last layer only their
keys and values count, so the layer is run twice: on all tokens, up to its attention, where keys and values
are taken and the rest is left; and on the tokens that are read, which attend to those. Both times it is the
layer's own forward, so no family has a line here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention as sdpa
from transformers.modeling_layers import GradientCheckpointingLayer

from rm_monitor.packed.interface import refuse_unknown, through
from rm_monitor.packed.scope import OutOfScope
from rm_monitor.scorers.run.packing import Alike, Branch, Pack

__all__ = ["on_packed_rows", "running"]

NAME = "rm_monitor_scoring"


@dataclass(slots=True)
class _Run:
    """One forward.

    Attributes:
        pack: Its rows.
        causal: Whether a token sees only those before it.
        last: Where the last layer is: ``before``, ``keys`` (on all tokens), ``read`` (on those read).
        kept: The last layer's keys and values.
        lines: Layer -> keys and values of all tokens, where their prefixes may be kept.
    """

    pack: Pack
    causal: bool
    last: str = "before"
    kept: tuple[Tensor, Tensor] | None = None
    lines: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict)


class _Kept(Exception):
    """Keys and values are taken: the rest of the layer is left."""


_run: ContextVar[_Run | None] = ContextVar("rm_monitor_scoring_run", default=None)


@contextmanager
def on_packed_rows(model: Any, *, rowwise: bool) -> Iterator[None]:
    """Inside, the model runs on packs; its attention and its last layer come back whatever happens.

    Args:
        model: Of which `why_not_packed` has nothing to say.
        rowwise: What comes out of the last layer: ``(reads, 1, hidden)``, as if each read token was a row of
            its own, for a pooler that takes the first token of each; else ``(1, tokens, hidden)``, zero
            where nobody reads.

    Raises:
        OutOfScope: If it is not clear which layer is the last one.
    """
    layer = _last_layer(model)
    forward = layer.forward
    layer.forward = _only_where_read(forward, rowwise)
    try:
        with through(model, NAME, _attend):
            yield
    finally:
        del layer.forward  # the class's is there again


@contextmanager
def running(pack: Pack, *, causal: bool) -> Iterator[dict[int, tuple[Tensor, Tensor]]]:
    """Inside is one forward on this pack; afterwards keys and values by layer, if it has fresh prefixes.

    Raises:
        OutOfScope: If the forward did not get as far as the tokens that are read.
    """
    run = _Run(pack, causal)
    token = _run.set(run)
    try:
        yield run.lines
        if run.last != "read":
            raise OutOfScope("its last layer did not attend through transformers' attention interface")
    finally:
        _run.reset(token)


def _last_layer(model: Any) -> Any:
    layers = [
        module
        for module in model.modules()
        if isinstance(module, torch.nn.ModuleList)
        and len(module) == getattr(model.config, "num_hidden_layers", None)
        and all(isinstance(layer, GradientCheckpointingLayer) for layer in module)
    ]
    if len(layers) != 1:
        raise OutOfScope("it is not clear which of its layers is the last one")
    return layers[0][-1]


def _only_where_read(forward: Callable[..., Any], rowwise: bool) -> Callable[..., Any]:
    def last(hidden: Tensor, *args: Any, **kwargs: Any) -> Any:
        run = _current()
        run.last = "keys"
        try:
            forward(hidden, *args, **kwargs)
        except _Kept:
            run.last = "read"
        else:
            raise OutOfScope("its last layer has no attention of transformers' interface")
        tokens, read = hidden.shape[1], run.pack.read
        args, kwargs = _at(read, tokens, args), _at(read, tokens, kwargs)
        out = forward(hidden[:, read], *args, **kwargs)
        states = out[0] if isinstance(out, tuple) else out
        states = states[0][:, None] if rowwise else torch.zeros_like(hidden).index_copy_(1, read, states)
        return (states, *out[1:]) if isinstance(out, tuple) else states

    return last


def _at(read: Tensor, tokens: int, given: Any) -> Any:
    """What a layer is given for each token, at the tokens that are read: positions, rotary angles."""
    if isinstance(given, Tensor):
        return given[:, read] if given.ndim > 1 and given.shape[1] == tokens else given
    if isinstance(given, tuple):
        return tuple(_at(read, tokens, one) for one in given)
    if isinstance(given, dict):
        return {name: _at(read, tokens, one) for name, one in given.items()}
    return given


def _current() -> _Run:
    run = _run.get()
    if run is None:
        raise OutOfScope("it ran outside a packed forward")
    return run


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
    run = _current()
    refuse_unknown(attention_mask, dropout, others)
    if getattr(module, "is_causal", run.causal) != run.causal:
        raise OutOfScope("it sees other tokens than a model of its kind")
    if run.last == "read":
        assert run.kept is not None
        return _at_read(run.pack, query, *run.kept, scaling), None
    if run.pack.fresh:
        run.lines[module.layer_idx] = key[0], value[0]
    keys, values = _line(run.pack, module, 0, key[0]), _line(run.pack, module, 1, value[0])
    if run.last == "keys":
        run.kept = keys, values
        raise _Kept
    grouped = query.shape[1] // key.shape[1]
    if grouped > 1:
        keys, values = keys.repeat_interleave(grouped, 0), values.repeat_interleave(grouped, 0)
    outs, begin, before = [], 0, run.pack.before
    for part in run.pack.parts:
        end = begin + (part.length if isinstance(part, Branch) else part.count * part.length)
        asking = query[0, :, begin:end]
        outs.append(_within(part, asking, keys, values, before + begin, before + end, run.causal, scaling))
        begin = end
    return (outs[0] if len(outs) == 1 else torch.cat(outs))[None], None


def _line(pack: Pack, module: Any, which: int, own: Tensor) -> Tensor:
    """``(heads, tokens, width)``: the layer's part of what is kept, and then the pack's own tokens."""
    if not pack.kept:
        return own
    return torch.cat([*(kept.lines[module.layer_idx][which][:, :n] for kept, n in pack.kept), own], 1)


def _within(
    part: Alike | Branch,
    query: Tensor,
    keys: Tensor,
    values: Tensor,
    begin: int,
    end: int,
    causal: bool,
    scaling: float | None,
) -> Tensor:
    """``(tokens, heads, width)`` of a part's tokens, from ``(heads, tokens, width)``."""
    if isinstance(part, Branch):
        k, v = (
            torch.cat((line[:, part.trunk : part.trunk + part.shared], line[:, begin:end]), 1)[None]
            for line in (keys, values)
        )
        return sdpa(query[None], k, v, attn_mask=part.mask, scale=scaling)[0].transpose(0, 1)
    q, k, v = (
        line.reshape(len(line), part.count, part.length, -1).transpose(0, 1)
        for line in (query, keys[:, begin:end], values[:, begin:end])
    )
    out = sdpa(q, k, v, is_causal=causal, scale=scaling)
    return out.transpose(1, 2).flatten(0, 1)


def _at_read(pack: Pack, query: Tensor, keys: Tensor, values: Tensor, scaling: float | None) -> Tensor:
    """``(1, reads, heads, width)``: each read token, and what it sees of its row."""
    heads = keys.shape[0]
    # The queries that share a key head stand together, as if they were tokens of one.
    q = query[0].transpose(0, 1).reshape(len(pack.read), heads, -1, query.shape[-1])
    k, v = (line[:, pack.seen].transpose(0, 1) for line in (keys, values))
    bias = torch.zeros(pack.unseen.shape, dtype=q.dtype, device=q.device).masked_fill_(
        pack.unseen, -torch.inf
    )
    return sdpa(q, k, v, attn_mask=bias, scale=scaling).flatten(1, 2)[None]
