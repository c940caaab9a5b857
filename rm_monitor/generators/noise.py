"""Private noise: a number for each (seed, prompt, sample, position, token), drawn from no generator at all.

A token is chosen as ``argmax(log p + g)`` with Gumbel noise ``g``, which samples from ``p`` exactly (Gumbel
1954). The noise is a hash of its
coordinates, so it can be had for any position at once, it does not depend on batch, order or rank, and no
global random state moves:
given the noise, the next token is a fixed function of the logits.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor

from rm_monitor.generators.pick import largest, likeliest

__all__ = ["choose", "row_keys"]

_STEP = -7046029254386353131  # 0x9E3779B97F4A7C15, the golden ratio of splitmix64, as a signed number
_MIX1, _MIX2 = -4658895280553007687, -7723592293110705685  # its two multipliers
_CANDIDATES = 16


def row_keys(seed: int, rows: Sequence[tuple[str, int]], device: torch.device | None = None) -> Tensor:
    """``(n,)`` int64 keys of (prompt id, sample) rows."""
    keys = []
    for prompt_id, sample in rows:
        text = f"{seed}:{sample}:{prompt_id}".encode("utf-8", "surrogatepass")
        keys.append(int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big", signed=True))
    return torch.tensor(keys, dtype=torch.int64, device=device)


def gumbel(keys: Tensor, positions: Tensor, tokens: Tensor) -> Tensor:
    """Gumbel noise in float64.

    Args:
        keys: ``(n,)`` from `row_keys`.
        positions: ``(n,)`` number of the generated token.
        tokens: ``(n, m)`` token ids.
    """
    state = _mix(keys + positions * _STEP)[:, None]
    bits = _mix(state + (tokens + 1) * _STEP)
    uniform = (_shift(bits, 11).to(torch.float64) + 0.5) * 2.0**-53
    return -torch.log(-torch.log(uniform))


def choose(logits: Tensor, keys: Tensor, positions: Tensor, *, temperature: float, top_p: float) -> Tensor:
    """``(n,)`` next tokens.

    Args:
        logits: ``(n, vocabulary)``.
        keys: ``(n,)`` from `row_keys`.
        positions: ``(n,)``.
        temperature: 0: the likeliest token.
        top_p: Nucleus, in (0, 1]; tokens as likely as its last one belong to it.
    """
    if temperature == 0:
        return likeliest(logits)
    scaled = logits.float() / temperature
    if top_p >= 1:
        tokens = torch.arange(scaled.shape[-1], device=scaled.device).expand_as(scaled)
        return (scaled.double() + gumbel(keys, positions, tokens)).argmax(dim=-1)
    top, tokens = _nucleus(scaled, top_p)
    best = (top.double() + gumbel(keys, positions, tokens)).argmax(dim=-1)
    return tokens.gather(1, best[:, None])[:, 0]


def _nucleus(scaled: Tensor, top_p: float) -> tuple[Tensor, Tensor]:
    """``(n, m)`` logits and ids of each row's nucleus, -inf outside: only these need noise."""
    highest = scaled.amax(dim=-1, keepdim=True)
    total = (scaled - highest).exp_().sum(dim=-1, keepdim=True).double()
    size = scaled.shape[-1]
    count = min(_CANDIDATES, size)
    while True:
        top, tokens = largest(scaled, count)
        mass = (torch.exp((top - highest).double()) / total).cumsum(dim=-1)
        last = (mass < top_p).sum(dim=-1, keepdim=True)  # number of the token that fills the nucleus
        full = last < count
        limit = top.gather(1, last.clamp(max=count - 1))
        if count == size or bool((full & (top[:, -1:] < limit)).all()):
            return top.masked_fill(top < limit, float("-inf")), tokens
        count = min(4 * count, size)


def _mix(x: Tensor) -> Tensor:
    """The output function of splitmix64 (Steele, Lea, Flood 2014)."""
    x = (x ^ _shift(x, 30)) * _MIX1
    x = (x ^ _shift(x, 27)) * _MIX2
    return x ^ _shift(x, 31)


def _shift(x: Tensor, bits: int) -> Tensor:
    """Right shift of the 64 bits as an unsigned number; torch's keeps the sign."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)
