"""Attention of rows of unequal length over pages: torch's own kernel, and what it says in plain torch."""

from __future__ import annotations

from typing import Protocol, cast

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention as sdpa

__all__ = ["Varlen", "kernel_of", "reference"]

WIDEST = 256  # of a head, in torch's kernel


class Varlen(Protocol):
    """The part of ``torch.nn.attention.varlen.varlen_attn`` that is used here."""

    def __call__(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        cu_seq_q: Tensor,
        cu_seq_k: Tensor | None,
        max_q: int,
        max_k: int,
        *,
        scale: float | None = None,
        window_size: tuple[int, int] = (-1, -1),
        enable_gqa: bool = False,
        seqused_k: Tensor | None = None,
        block_table: Tensor | None = None,
    ) -> Tensor:
        """``(tokens, heads, width)``; see torch's documentation for the arguments."""
        ...


def kernel_of(device: torch.device, dtype: torch.dtype, width: int) -> Varlen | None:
    """The device's paged attention; None: it has none for such numbers."""
    if device.type != "cuda" or dtype not in (torch.float16, torch.bfloat16) or width > WIDEST:
        return None
    try:
        from torch.nn.attention.varlen import varlen_attn  # noqa: PLC0415  older torch has none
    except ImportError:
        return None
    return cast(Varlen, varlen_attn)  # it gives a pair where more is asked for


def reference(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    cu_seq_q: Tensor,
    cu_seq_k: Tensor | None,
    max_q: int,
    max_k: int,
    *,
    scale: float | None = None,
    window_size: tuple[int, int] = (-1, -1),
    enable_gqa: bool = False,
    seqused_k: Tensor | None = None,
    block_table: Tensor | None = None,
) -> Tensor:
    """What ``varlen_attn`` says of pages, where it is not: of fixed shapes if each row has one token.

    Args:
        query: ``(tokens, heads, width)``.
        key: ``(pages, size, key heads, width)``.
        value: Of the same shape.
        cu_seq_q: ``(rows + 1,)`` where each row's queries begin; the last ones of a row see all of it.
        cu_seq_k: None: rows are in pages.
        max_q: Most queries of a row.
        max_k: Not needed.
        scale: Factor of the products.
        window_size: ``(left, 0)``: causal, that many tokens before its own seen; -1: all of them.
        enable_gqa: Whether several heads share a key head.
        seqused_k: ``(rows,)`` tokens of each row.
        block_table: ``(rows, most pages)``.
    """
    if block_table is None or seqused_k is None or cu_seq_k is not None or window_size[1] != 0:
        raise ValueError("`reference` is of causal attention over pages alone")
    rows, size = len(block_table), key.shape[1]
    seen = [one.to(query.dtype)[block_table.long()].flatten(1, 2).transpose(1, 2) for one in (key, value)]
    places = torch.arange(block_table.shape[1] * size, device=query.device)
    used = seqused_k[:, None]
    if max_q == 1:
        mask = _mask(places[None], used - 1, window_size[0])
        q = query[:, :, None]
        k, v = seen
        return sdpa(q, k, v, attn_mask=mask[:, None, None], scale=scale, enable_gqa=enable_gqa)[:, :, 0]
    out = []
    bounds = cu_seq_q.tolist()
    for row in range(rows):
        begin, end, length = bounds[row], bounds[row + 1], int(seqused_k[row])
        at = torch.arange(length - (end - begin), length, device=query.device)[:, None]
        k, v = (one[row, :, :length] for one in seen)
        q = query[begin:end].transpose(0, 1)
        mask = _mask(places[None, :length], at, window_size[0])
        out.append(sdpa(q[None], k[None], v[None], attn_mask=mask, scale=scale, enable_gqa=enable_gqa)[0])
    return torch.cat(out, 1).transpose(0, 1)


def _mask(places: Tensor, own: Tensor, left: int) -> Tensor:
    seen = places <= own
    return seen if left < 0 else seen & (places >= own - left)
