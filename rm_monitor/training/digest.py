"""A name for what answers: equal names, equal answers, so nothing has to be answered again.

Version counters cannot tell (a fused AdamW does not bump them) and step counters tell too little: a step may
have been skipped (an overflow under fp16, a learning rate of 0), and a process that resumes has other
counters. So the bytes themselves are read, all of them, once an evaluation, where they lie. An evaluation
reads them once for every token of its longest answer.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from rm_monitor.training.sharded import describe
from rm_monitor.training.unwrap import unwrap

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["fingerprint"]

_WORDS = 1 << 17  # 64-bit words hashed at a time: 1 MB, which stays in a CPU's cache
_LAUNCHED = 64  # chunks hashed by one launch: 64 MB
_SPREAD = 33  # bits; without it two flipped signs could cancel
_STEP = 0x9E3779B97F4A7C15  # 2^64 / golden ratio, odd
_MASK = (1 << 64) - 1
_ADAPTERS = ("disable_adapters", "active_adapters", "merged_adapters", "scaling")  # PEFT's layers


def fingerprint(model: Any, tokenizer: Any = None) -> str:
    """Of all parameters and buffers, bit by bit, and of what else decides about answers.

    That is: which adapters are on and at which scale, the generation config and the chat template. Code that
    is changed under way (a patched forward) is not seen.

    Returns:
        32 hexadecimal digits; empty where it cannot be told: no module, or weights spread over processes.

    Example:
        >>> import torch
        >>> layer = torch.nn.Linear(2, 2)
        >>> before = fingerprint(layer)
        >>> with torch.no_grad():
        ...     layer.weight[1, 1] += 1e-3
        >>> before == fingerprint(layer)
        False
    """
    import torch  # noqa: PLC0415  heavy

    if not isinstance(model, torch.nn.Module) or describe(model).collective:
        return ""
    module = unwrap(model)
    digest = hashlib.blake2b(digest_size=16)
    multipliers: dict[torch.device, Tensor] = {}
    with torch.no_grad():
        for name, tensor in (*module.named_parameters(), *module.named_buffers()):
            if tensor.is_meta or tensor.layout is not torch.strided:
                return ""
            if tensor.device not in multipliers:
                multipliers[tensor.device] = _multipliers(tensor.device)
            total = _sum(tensor, multipliers[tensor.device])
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)} {total:x}\n".encode())
    for fact in _settings(module, tokenizer):
        digest.update(fact.encode("utf-8", "surrogatepass") + b"\n")
    return digest.hexdigest()


def _sum(tensor: Tensor, multipliers: Tensor) -> int:
    """64 bits of a tensor: its words times odd random numbers, summed modulo 2^64, chunk after chunk."""
    import torch  # noqa: PLC0415

    data = tensor.detach().contiguous().flatten().view(torch.uint8)
    if tail := data.numel() % 8:
        data = torch.nn.functional.pad(data, (0, 8 - tail))
    total = 0
    sums = []
    for piece in torch.split(data.view(torch.int64), _words_at_once(tensor.device)):
        whole = piece.numel() // _WORDS * _WORDS
        chunks = piece[:whole].view(-1, _WORDS)
        sums.append(((chunks ^ (chunks >> _SPREAD)) * multipliers).sum(1))
        if rest := piece[whole:].numel():
            last = piece[whole:]
            sums.append(((last ^ (last >> _SPREAD)) * multipliers[:rest]).sum()[None])
    for part in torch.cat(sums).tolist() if sums else []:
        total = ((total + part) * _STEP) & _MASK
    return total


def _words_at_once(device: Any) -> int:
    """A chunk that stays in a CPU's cache; elsewhere many chunks in one launch, for the same sums."""
    return _WORDS if device.type == "cpu" else _WORDS * _LAUNCHED


def _multipliers(device: Any) -> Tensor:
    """``(_WORDS,)`` odd numbers, the same on every device."""
    import torch  # noqa: PLC0415

    x = torch.arange(1, _WORDS + 1, dtype=torch.int64, device=device) * (_STEP - (1 << 64))
    x = (x ^ (x >> 31)) * -4658895280553007687  # a multiplier of splitmix64
    return (x ^ (x >> 29)) | 1


def _settings(module: Any, tokenizer: Any) -> Iterator[str]:
    config = getattr(module, "generation_config", None)
    yield json.dumps(None if config is None else config.to_dict(), sort_keys=True, default=str)
    yield str(getattr(tokenizer, "chat_template", None))
    for name, part in module.named_modules():
        if hasattr(part, "disable_adapters"):
            yield f"{name} {[getattr(part, a, None) for a in _ADAPTERS]}"
