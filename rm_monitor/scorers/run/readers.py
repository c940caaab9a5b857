"""The two ways of running a network for a score: hidden states at some tokens, or its own labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from rm_monitor.scorers.run.batching import Batch
from rm_monitor.scorers.run.pooling import hidden_at

__all__ = ["HiddenReader", "LogitsReader"]


@dataclass(frozen=True, slots=True)
class HiddenReader:
    """A decoder without its head: ``(b, positions, hidden)`` at the tokens the head asks for."""

    model: Any
    identity: Mapping[str, str]

    def __call__(self, batch: Batch) -> torch.Tensor:
        """Hidden states of a batch."""
        return hidden_at(self.model, batch)


@dataclass(frozen=True, slots=True)
class LogitsReader:
    """An encoder with its own pooler and classifier: its labels, ``(b, 1, labels)``."""

    model: Any
    identity: Mapping[str, str]

    def __call__(self, batch: Batch) -> torch.Tensor:
        """Labels of a batch."""
        types = {} if batch.types is None else {"token_type_ids": batch.types}
        logits: torch.Tensor = self.model(input_ids=batch.ids, attention_mask=batch.mask, **types).logits
        return logits.float()[:, None, :]
