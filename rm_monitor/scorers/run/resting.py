"""Weights that rest in main memory and are on their device only while they work."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from rm_monitor.errors import ScorerError

__all__ = ["Resting"]


class Resting:
    """A network whose weights lie on the CPU between two scorings.

    They never change, so nothing is copied back: the device's copy is let go, and its memory is free for
    training. Coming to work costs the weights' bytes over the bus, 0.6 s for 15 GB at 25 GB/s.

    Args:
        network: What rests from now on.

    Raises:
        ScorerError: If its weights cannot be moved: spread over several devices, or quantised.

    Example:
        >>> network = torch.nn.Linear(2, 1)
        >>> resting = Resting(network)
        >>> with resting.at_work(torch.device("cpu")):
        ...     network(torch.zeros(3, 2)).shape
        torch.Size([3, 1])
    """

    def __init__(self, network: Any) -> None:
        if len(set((getattr(network, "hf_device_map", None) or {}).values())) > 1:
            raise ScorerError("`idle='cpu'` moves whole models: one that is spread over devices stays there")
        if getattr(network, "is_quantized", False):
            raise ScorerError("`idle='cpu'` moves plain weights: a quantised model stays on its device")
        self._tensors: list[torch.Tensor] = [*network.parameters(), *network.buffers()]
        self._home = [t.data.to("cpu") for t in self._tensors]
        self._go_home()

    @contextmanager
    def at_work(self, device: torch.device) -> Iterator[None]:
        """The weights are on ``device`` inside, and off it afterwards whatever happened."""
        try:
            for tensor, home in zip(self._tensors, self._home, strict=True):
                tensor.data = _copied(home, device)
            yield
        finally:
            self._go_home()

    def _go_home(self) -> None:
        for tensor, home in zip(self._tensors, self._home, strict=True):
            tensor.data = home


def _copied(home: torch.Tensor, device: torch.device) -> torch.Tensor:
    return home.to(device)
