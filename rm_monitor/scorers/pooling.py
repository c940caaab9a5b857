"""Hidden states at chosen tokens, in float32.

transformers reads a score at the right-most token that is not the padding token, and so reads the wrong one
when the padding token is also the end token. Here positions are counted from the ids themselves, before any
padding.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from rm_monitor.scorers.batching import Batch

__all__ = ["hidden_at", "last_token"]


def last_token(ids: Sequence[int]) -> tuple[int, ...]:
    """The position most reward models are read at: the end of the whole input."""
    return (len(ids) - 1,)


def hidden_at(backbone: Any, batch: Batch) -> torch.Tensor:
    """``(b, positions, hidden)`` float32 hidden states of a decoder at the positions a batch asks for.

    Position ids are explicit: models with learned positions are wrong without them as soon as the padding
    moves.
    """
    positions = (batch.mask.cumsum(-1) - 1).clamp(min=0)
    states = backbone(
        input_ids=batch.ids, attention_mask=batch.mask, position_ids=positions, use_cache=False
    ).last_hidden_state
    rows = torch.arange(len(states), device=states.device)[:, None]
    found: torch.Tensor = states[rows, batch.read.to(states.device)].float()
    return found
