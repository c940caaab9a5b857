"""Memory that two processes share and that has no name: a crash leaves nothing behind."""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Iterator
from itertools import chain
from typing import Any

import torch

from rm_monitor.monitor.overlap.pinned import Pinned, settle
from rm_monitor.training.unwrap import unwrap

__all__ = ["Slot", "nameless", "weights"]

_ALIGNED = 64  # bytes; a tensor begins at a multiple


def weights(model: Any) -> list[torch.Tensor]:
    """Every parameter and buffer, saved or not, tied ones once, always in the same order."""
    module = unwrap(model)
    return list({id(t): t for t in chain(module.parameters(), module.buffers())}.values())


def nameless(size: int = 0) -> int:
    """A descriptor of a file that lies nowhere."""
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create("rm_monitor", 0)
    else:
        with tempfile.TemporaryFile() as file:
            fd = os.dup(file.fileno())
    os.ftruncate(fd, size)
    return fd


class Slot:
    """Room for one copy of a model's weights.

    Args:
        size: Bytes.
        fd: Of a slot that another process made; None: a new one.

    Example:
        >>> ours, other = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)
        >>> slot = Slot.for_model(ours)
        >>> slot.write(weights(ours))
        >>> slot.read(weights(other))
        >>> torch.equal(other.weight, ours.weight)
        True
        >>> slot.close()
    """

    def __init__(self, size: int, fd: int | None = None) -> None:
        self.size = max(size, 1)
        self.fd = nameless(self.size) if fd is None else fd
        self._memory = mmap.mmap(self.fd, self.size)
        self._pinned = Pinned(self._memory, self.size)

    @classmethod
    def for_model(cls, model: Any) -> Slot:
        """A slot that is large enough."""
        return cls(sum(_padded(t) for t in weights(model)))

    def write(self, tensors: list[torch.Tensor]) -> None:
        """Copy in; done when this returns. From a GPU all copies run at once, and one wait ends them."""
        self._pin(tensors)
        with torch.no_grad():
            for tensor, room in self._rooms(tensors):
                room.copy_(tensor, non_blocking=True)
        settle(tensor.device for tensor in tensors)

    def read(self, tensors: list[torch.Tensor]) -> None:
        """Copy out; done when this returns, also on a GPU."""
        self._pin(tensors)
        with torch.no_grad():
            for tensor, room in self._rooms(tensors):
                tensor.copy_(room, non_blocking=True)
        settle(tensor.device for tensor in tensors)

    def close(self) -> None:
        """Let go of it; the memory is free once both processes have."""
        self._pinned.forget()
        os.close(self.fd)

    def _pin(self, tensors: list[torch.Tensor]) -> None:
        for kind in {tensor.device.type for tensor in tensors}:
            self._pinned.know(kind)

    def _rooms(self, tensors: list[torch.Tensor]) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        start = 0
        for tensor in tensors:
            if tensor.numel():
                flat = torch.frombuffer(self._memory, dtype=tensor.dtype, count=tensor.numel(), offset=start)
                yield tensor, flat.view(tensor.shape)
            start += _padded(tensor)


def _padded(tensor: torch.Tensor) -> int:
    size = tensor.numel() * tensor.element_size()
    return -(-size // _ALIGNED) * _ALIGNED
