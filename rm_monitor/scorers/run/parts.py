"""What a family is made of: how the network is run, and how what it gives becomes a reward.

Together with an `Encoding` (how the input is written) they make a scorer; everything that makes a score
right or repeatable is in `InProcessScorer`, once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import torch

from rm_monitor.scorers.run.batching import Batch
from rm_monitor.scorers.text.encodings import Encoded
from rm_monitor.types import Scale

__all__ = ["Head", "Reader", "Readout"]


class Readout(NamedTuple):
    """What a head says of ``b`` rows: the reward ``(b,)``, and further scores by name."""

    reward: torch.Tensor
    attributes: Mapping[str, torch.Tensor] = {}


class Reader(Protocol):
    """Runs the network and gives what the head needs."""

    @property
    def model(self) -> Any:
        """The network."""

    @property
    def identity(self) -> Mapping[str, str]:
        """What its numbers depend on: weights, config, dtype, attention."""

    def __call__(self, batch: Batch) -> torch.Tensor:
        """``(b, positions, features)`` float32."""


class Head(Protocol):
    """Turns what was read into a reward; float32 weights, higher is better."""

    @property
    def scale(self) -> Scale:
        """What a difference of two rewards means."""

    @property
    def identity(self) -> Mapping[str, str]:
        """What decides the number apart from the weights: which label, which sign, which temperature."""

    @property
    def attributes(self) -> tuple[str, ...]:
        """Names of the further scores it gives."""

    def positions(self, encoded: Encoded) -> tuple[int, ...]:
        """Which tokens are read."""

    def to(self, device: torch.device) -> Any:
        """Move the weights."""

    def eval(self) -> Any:
        """Dropout off, batch norm by its stored statistics."""

    def __call__(self, read: torch.Tensor) -> Readout:
        """Rewards of ``(b, positions, features)``."""
