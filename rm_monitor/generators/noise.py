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

import numpy as np
import torch
from torch import Tensor

from rm_monitor.generators.pick import largest, likeliest

__all__ = ["choose", "row_keys"]

_STEP = -7046029254386353131  # 0x9E3779B97F4A7C15, the golden ratio of splitmix64, as a signed number
_MIX1, _MIX2 = -4658895280553007687, -7723592293110705685  # its two multipliers
_CANDIDATES = (16, 256)


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
    highest = scaled.amax(dim=-1, keepdim=True)
    total = (scaled - highest).exp_().sum(dim=-1, keepdim=True).double()
    chosen = torch.empty(len(scaled), dtype=torch.int64, device=scaled.device)
    left = torch.arange(len(scaled), device=scaled.device)  # rows whose nucleus was not seen whole yet
    for count in (count for count in _CANDIDATES if count < scaled.shape[-1]):
        top, tokens = largest(scaled, count)
        limit = _limit(top, highest, total, top_p)
        whole = top[:, -1] < limit[:, 0]
        best = (top.masked_fill(top < limit, -torch.inf).double() + gumbel(keys, positions, tokens)).argmax(
            -1
        )
        chosen[left[whole]] = tokens.gather(1, best[:, None])[whole, 0]
        if bool(whole.all()):
            return chosen
        left, scaled, highest, total = left[~whole], scaled[~whole], highest[~whole], total[~whole]
        keys, positions = keys[~whole], positions[~whole]
    members = scaled >= _limit(_falling(scaled), highest, total, top_p)
    chosen[left] = _among(members, scaled, keys, positions)
    return chosen


def _limit(top: Tensor, highest: Tensor, total: Tensor, top_p: float) -> Tensor:
    """``(n, 1)`` the lowest logit of each row's nucleus, if that lies within ``top``; else its last."""
    mass = (torch.exp((top - highest).double()) / total).cumsum(dim=-1)
    last = (mass < top_p).sum(dim=-1, keepdim=True)  # number of the token that fills the nucleus
    return top.gather(1, last.clamp(max=top.shape[-1] - 1))


def _falling(logits: Tensor) -> Tensor:
    """Each row sorted; on a CPU by numpy, which is four times as fast."""
    if logits.device.type != "cpu":
        return logits.sort(dim=-1, descending=True).values
    return torch.from_numpy(-np.sort(-logits.numpy(), axis=-1))


def _among(members: Tensor, scaled: Tensor, keys: Tensor, positions: Tensor) -> Tensor:
    """``(n,)`` tokens chosen among the members of each row: only these need noise."""
    row, token = members.nonzero(as_tuple=True)
    noise = gumbel(keys[row], positions[row], token[:, None])[:, 0]
    values = torch.full(members.shape, -torch.inf, dtype=torch.float64, device=members.device)
    values[row, token] = scaled[row, token].double() + noise
    return values.argmax(dim=-1)


def _mix(x: Tensor) -> Tensor:
    """The output function of splitmix64 (Steele, Lea, Flood 2014)."""
    x = (x ^ _shift(x, 30)) * _MIX1
    x = (x ^ _shift(x, 27)) * _MIX2
    return x ^ _shift(x, 31)


def _shift(x: Tensor, bits: int) -> Tensor:
    """Right shift of the 64 bits as an unsigned number; torch's keeps the sign."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)
