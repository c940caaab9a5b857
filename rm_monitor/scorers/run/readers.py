"""The two ways of running a network for a score: hidden states at some tokens, or its own labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from rm_monitor.scorers.run.batching import Batch
from rm_monitor.scorers.run.networks import first_position
from rm_monitor.scorers.run.packing import Pack
from rm_monitor.scorers.run.pooling import hidden_at

__all__ = ["HiddenReader", "LogitsReader"]


@dataclass(frozen=True, slots=True)
class HiddenReader:
    """A decoder without its head: ``(b, positions, hidden)`` at the tokens the head asks for."""

    model: Any
    identity: Mapping[str, str]
    causal = True
    reads = None  # as each row says

    def __call__(self, batch: Batch) -> torch.Tensor:
        """Hidden states of a batch."""
        return hidden_at(self.model, batch)

    def packed(self, pack: Pack) -> torch.Tensor:
        """Hidden states of packed rows."""
        states = self.model(
            input_ids=pack.ids, position_ids=pack.positions, use_cache=False
        ).last_hidden_state
        read: torch.Tensor = states[0, pack.read].float()
        return read.reshape(pack.rows, -1, read.shape[-1])


@dataclass(frozen=True, slots=True)
class LogitsReader:
    """An encoder with its own pooler and classifier: its labels, ``(b, 1, labels)``."""

    model: Any
    identity: Mapping[str, str]
    causal = False
    reads = (0,)  # where poolers of packed rows must look: whether this one does is tried

    def __call__(self, batch: Batch) -> torch.Tensor:
        """Labels of a batch."""
        types = {} if batch.types is None else {"token_type_ids": batch.types}
        logits: torch.Tensor = self.model(input_ids=batch.ids, attention_mask=batch.mask, **types).logits
        return logits.float()[:, None, :]

    def packed(self, pack: Pack) -> torch.Tensor:
        """Labels of packed rows."""
        types = {} if pack.types is None else {"token_type_ids": pack.types}
        positions = pack.positions + first_position(self.model.config)
        logits: torch.Tensor = self.model(input_ids=pack.ids, position_ids=positions, **types).logits
        return logits.float()[:, None, :]
