"""The largest of very many logits: what `torch.argmax` and `torch.topk` say, in a fraction of the time.

A vocabulary is cut into chunks; the k largest logits lie in the k chunks with the largest maxima.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["largest", "likeliest", "sharpness"]

_CHUNK = 64
_TOP = 10


def likeliest(logits: Tensor) -> Tensor:
    """``(n,)`` indices of the largest of each row of ``(n, vocabulary)``, the first one among equals.

    Example:
        >>> likeliest(torch.tensor([[0.0, 2.0, 2.0]]))
        tensor([1])
    """
    if logits.device.type != "cpu":
        return logits.argmax(dim=-1)
    if logits.dtype == torch.float32:
        return torch.from_numpy(logits.numpy().argmax(axis=-1))
    size = logits.shape[-1]
    body = size // _CHUNK * _CHUNK
    if body == 0:
        return logits.argmax(dim=-1)
    chunks = logits[:, :body].reshape(len(logits), -1, _CHUNK)
    chunk = chunks.amax(dim=-1).argmax(dim=-1)
    inside = chunks[torch.arange(len(logits)), chunk]
    best = chunk * _CHUNK + inside.argmax(dim=-1)
    if body == size:
        return best
    rest = logits[:, body:]
    tail = rest.argmax(dim=-1)
    value, other = inside.amax(dim=-1), rest.gather(1, tail[:, None])[:, 0]
    from_tail: Tensor = ~value.isnan() & ((other > value) | other.isnan())
    return torch.where(from_tail, tail + body, best)


def largest(logits: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """``(n, count)`` values in falling order and their indices: `torch.topk`; order among equals is free.

    Example:
        >>> largest(torch.tensor([[1.0, 3.0, 2.0]]), 2)[1]
        tensor([[1, 2]])
    """
    size = logits.shape[-1]
    body = size // _CHUNK * _CHUNK
    if count * _CHUNK * 2 > body:
        found = logits.topk(count, dim=-1)
        return found.values, found.indices
    chunks = logits[:, :body].reshape(len(logits), -1, _CHUNK)
    which = chunks.amax(dim=-1).topk(count, dim=-1, sorted=False).indices
    values = chunks.gather(1, which[:, :, None].expand(-1, -1, _CHUNK)).flatten(1)
    if body < size:
        values = torch.cat([values, logits[:, body:]], 1)
    found = values.topk(count, dim=-1)
    place = found.indices
    inside = which.gather(1, (place // _CHUNK).clamp(max=count - 1)) * _CHUNK + place % _CHUNK
    return found.values, torch.where(place < count * _CHUNK, inside, place - count * _CHUNK + body)


def sharpness(logits: Tensor) -> tuple[Tensor, Tensor]:
    """``(n,)`` each: entropy of a row's ten likeliest tokens, renormalised, in bits; their probability.

    Example:
        >>> entropy, mass = sharpness(torch.zeros(1, 40))
        >>> round(float(entropy), 3), round(float(mass), 3)
        (3.322, 0.25)
    """
    logits = logits.float()
    top, _ = largest(logits, min(_TOP, logits.shape[-1]))
    highest = top[:, :1]
    ratio = (top - highest).exp()
    p = ratio / ratio.sum(-1, keepdim=True)
    entropy = -(p * torch.log2(p.clamp_min(1e-30))).sum(-1)
    mass = ratio.sum(-1) / (logits - highest).exp_().sum(-1)
    return entropy, mass
