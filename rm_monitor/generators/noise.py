"""Private noise: a number for each (seed, prompt, sample, position, token), drawn from no generator at all.

A token is chosen as ``argmax(log p + g)`` with Gumbel noise ``g``, which samples from ``p`` exactly (Gumbel
1954). The noise is a hash of its coordinates, so it can be had for any position at once, it does not depend
on batch, order or rank, and no global random state moves: given the noise, the next token is a fixed function
of the logits.

Nothing here is wider than 32 bits, because there are devices that have nothing wider; nothing waits for the
device but `choose`; and no shape depends on a value. What changes here changes tokens: ``NOISE`` in
``rm_monitor/prompts/conditions.py`` is then raised.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from rm_monitor.generators.pick import largest, likeliest

__all__ = ["choose", "first_choice", "gumbel", "row_keys", "settle"]

_STEP, _OTHER = -1640531527, -2048144789  # 0x9E3779B9, the golden ratio; 0x85EBCA6B of murmur3
_MIX1, _MIX2 = 2146121005, -2073254261  # 0x7FEB352D, 0x846CA68B of lowbias32
_FEW, _MANY = 16, 256  # candidates: on a CPU a second look at few rows costs less than many at once
_TOP = 1 - 2.0**-24  # the largest float32 below 1


def row_keys(seed: int, rows: Sequence[tuple[str, int]], device: torch.device | None = None) -> Tensor:
    """``(n, 2)`` int32 keys of (prompt id, sample) rows."""
    digests = b"".join(
        hashlib.blake2b(f"{seed}:{sample}:{name}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
        for name, sample in rows
    )
    keys = np.frombuffer(digests, dtype="<i4").reshape(-1, 2).astype(np.int32)
    return torch.from_numpy(keys).to(device)


def gumbel(keys: Tensor, positions: Tensor, tokens: Tensor) -> Tensor:
    """Gumbel noise, float32, at most 22.9: what is rarer than 2^-33 in a token's place is never drawn.

    Args:
        keys: ``(n, 2)`` from `row_keys`.
        positions: ``(n,)`` int32 number of the generated token.
        tokens: ``(n, m)`` int32 token ids.
    """
    one = _mix(keys[:, :1] + positions[:, None] * _STEP)
    two = _mix(keys[:, 1:] ^ (positions[:, None] * _OTHER))
    bits = _mix(_mix(one + tokens * _STEP) ^ two)
    # A uniform number that is fine near 0: its exponential is fine where it is small, which decides.
    uniform = (_shift(bits, 1).float() * 2.0**-31 + 2.0**-33).clamp(max=_TOP)
    return -torch.log(-torch.log1p(-uniform))


def first_choice(
    logits: Tensor, keys: Tensor, positions: Tensor, *, temperature: float, top_p: float, few: bool = False
) -> tuple[Tensor, Tensor]:
    """``(n,)`` next tokens, and ``(n,)`` bool: whether they are settled. Nothing waits for the device.

    A token is not settled where the nucleus has more tokens than were looked at: `settle` looks at all.

    Args:
        logits: ``(n, vocabulary)``.
        keys: ``(n, 2)`` from `row_keys`.
        positions: ``(n,)`` int32.
        temperature: 0: the likeliest token.
        top_p: Nucleus, in (0, 1]; tokens as likely as its last one belong to it.
        few: Look at few candidates, where a second look is cheap.
    """
    settled = torch.ones(len(logits), dtype=torch.bool, device=logits.device)
    if temperature == 0:
        return likeliest(logits), settled
    scaled = logits.float() / temperature
    size = scaled.shape[-1]
    if top_p >= 1:
        tokens = torch.arange(size, dtype=torch.int32, device=scaled.device)[None]
        return (scaled + gumbel(keys, positions, tokens)).argmax(dim=-1), settled
    count = min(_FEW if few else _MANY, size)
    top, tokens = largest(scaled, count)
    limit = _limit(top, scaled, top_p)
    noise = gumbel(keys, positions, tokens.to(torch.int32))
    best = (top.masked_fill(top < limit, -torch.inf) + noise).argmax(-1, keepdim=True)
    return tokens.gather(1, best)[:, 0], settled if count == size else top[:, -1] < limit[:, 0]


def settle(
    logits: Tensor, keys: Tensor, positions: Tensor, at: Tensor, *, temperature: float, top_p: float
) -> Tensor:
    """``(len(at),)`` next tokens of the rows ``at``, whose nucleus is wide; see `first_choice`."""
    here, mine, places = (one.index_select(0, at) for one in (logits, keys, positions))
    if logits.device.type != "cpu":
        return _sorted_choice(here, mine, places, temperature=temperature, top_p=top_p)
    chosen, settled = first_choice(here, mine, places, temperature=temperature, top_p=top_p)  # of many
    wide = torch.from_numpy(np.flatnonzero(~settled.numpy()))
    if len(wide):
        here, mine, places = (one.index_select(0, wide) for one in (here, mine, places))
        found = _sorted_choice(here, mine, places, temperature=temperature, top_p=top_p)
        chosen.index_copy_(0, wide, found)
    return chosen


def _sorted_choice(
    logits: Tensor, keys: Tensor, positions: Tensor, *, temperature: float, top_p: float
) -> Tensor:
    """Next tokens by sorting each row."""
    scaled = logits.float() / temperature
    members = scaled >= _limit(_falling(scaled), scaled, top_p)
    tokens = torch.arange(scaled.shape[-1], dtype=torch.int32, device=scaled.device)[None]
    return (scaled.masked_fill(~members, -torch.inf) + gumbel(keys, positions, tokens)).argmax(-1)


def choose(logits: Tensor, keys: Tensor, positions: Tensor, *, temperature: float, top_p: float) -> Tensor:
    """``(n,)`` next tokens, all settled; see `first_choice` for the arguments."""
    positions = positions.to(torch.int32)
    chosen, settled = first_choice(
        logits, keys, positions, temperature=temperature, top_p=top_p, few=logits.device.type == "cpu"
    )
    if temperature == 0 or top_p >= 1:
        return chosen
    wide = np.flatnonzero(~settled.cpu().numpy())
    if len(wide):
        at = torch.from_numpy(wide).to(logits.device)
        found = settle(logits, keys, positions, at, temperature=temperature, top_p=top_p)
        chosen.index_copy_(0, at, found)
    return chosen


def _limit(top: Tensor, scaled: Tensor, top_p: float) -> Tensor:
    """``(n, 1)`` lowest logit of each row's nucleus, if it lies within the falling ``top``; else its last."""
    highest = top[:, :1]
    total = (scaled - highest).exp_().sum(dim=-1, keepdim=True)
    mass = torch.exp(top - highest).cumsum(dim=-1) / total
    last = (mass < top_p).sum(dim=-1, keepdim=True)  # number of the token that fills the nucleus
    return top.gather(1, last.clamp(max=top.shape[-1] - 1))


def _falling(logits: Tensor) -> Tensor:
    """Each row sorted; on a CPU by numpy, which is four times as fast."""
    if logits.device.type != "cpu":
        return logits.sort(dim=-1, descending=True).values
    return torch.from_numpy(-np.sort(-logits.numpy(), axis=-1))


def _mix(x: Tensor) -> Tensor:
    """lowbias32 (Wellons 2018): a bijection of 32 bits with little bias."""
    x = (x ^ _shift(x, 16)) * _MIX1
    x = (x ^ _shift(x, 15)) * _MIX2
    return x ^ _shift(x, 16)


def _shift(x: Tensor, bits: int) -> Tensor:
    """Right shift of the 32 bits as an unsigned number; torch's keeps the sign."""
    return (x >> bits) & ((1 << (32 - bits)) - 1)
