"""Weights that rest in main memory, or nowhere at all, and are on their device only while they work."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol

import torch

from rm_monitor.errors import ScorerError

__all__ = ["Resting", "Rests", "Unloaded"]


class Rests(Protocol):
    """What gets a network's weights to work and away again."""

    def at_work(self, device: torch.device) -> AbstractContextManager[None]:
        """The weights are on ``device`` inside, and off it afterwards whatever happened."""


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
        _refuse_special(network, "idle='cpu'")
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


class Unloaded:
    """A network whose weights are read from their files for each scoring, and let go after it.

    At rest its parameters keep shape and dtype and hold nan, which takes no memory. Coming to work costs
    loading the model and naming its weights again, about 1.3 CPU-s a gigabyte: if they have another name,
    the files were changed, and a score would be another model's.

    Args:
        network: What is unloaded from now on.
        identity: What its numbers depend on.
        load: The same network and identity, from the files.

    Raises:
        ScorerError: If its weights cannot be replaced: spread over several devices, or quantised.
    """

    def __init__(
        self, network: Any, identity: Mapping[str, str], load: Callable[[], tuple[Any, Mapping[str, str]]]
    ) -> None:
        _refuse_special(network, "idle='unload'")
        self._parameters = dict(network.named_parameters())
        self._identity = dict(identity)
        self._load = load
        self._let_go()

    @contextmanager
    def at_work(self, device: torch.device) -> Iterator[None]:
        """The weights are on ``device`` inside, and nowhere afterwards whatever happened.

        Raises:
            ScorerError: If the files are not those that were loaded first.
        """
        network, identity = self._load()
        fresh = dict(network.named_parameters())
        if dict(identity) != self._identity or fresh.keys() != self._parameters.keys():
            raise ScorerError(
                "the reward model's files were changed since it was loaded, and idle='unload' reads them "
                "again for each scoring: load it anew, as another judge"
            )
        del network
        try:
            for name, parameter in self._parameters.items():
                parameter.data = fresh.pop(name).data.to(device)
            yield
        finally:
            self._let_go()

    def _let_go(self) -> None:
        for parameter in self._parameters.values():
            nothing = torch.full((), torch.nan, dtype=parameter.dtype)
            parameter.data = nothing.expand(parameter.shape)


def _refuse_special(network: Any, how: str) -> None:
    if len(set((getattr(network, "hf_device_map", None) or {}).values())) > 1:
        raise ScorerError(f"`{how}` moves whole models: one that is spread over devices stays there")
    if getattr(network, "is_quantized", False):
        raise ScorerError(f"`{how}` moves plain weights: a quantised model stays on its device")


def _copied(home: torch.Tensor, device: torch.device) -> torch.Tensor:
    return home.to(device)
