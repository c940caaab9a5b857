"""Hidden states at chosen tokens, in float32.

transformers reads a score at the right-most token that is not the padding token, and so reads the wrong one
when the padding token is also the end token. Here positions are counted from the ids themselves, before any
padding.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from rm_monitor.scorers.run.batching import Batch

__all__ = ["at_positions", "hidden_at", "last_token"]


def last_token(ids: Sequence[int], *, skip: int | None = None) -> int:
    """The position most reward models are read at: the end of the whole input.

    Args:
        ids: One input, not padded.
        skip: A token that does not count: the padding token, for models trained by transformers' own rule.

    Example:
        >>> last_token([5, 6, 2]), last_token([5, 6, 2], skip=2), last_token([2, 2], skip=2)
        (2, 1, 0)
    """
    last = len(ids) - 1
    while skip is not None and last > 0 and ids[last] == skip:
        last -= 1
    return last


def hidden_at(backbone: Any, batch: Batch) -> torch.Tensor:
    """``(b, positions, hidden)`` float32 hidden states of a decoder at the positions a batch asks for.

    Position ids are explicit: models with learned positions are wrong without them as soon as the padding
    moves.
    """
    positions = (batch.mask.cumsum(-1) - 1).clamp(min=0)
    states = backbone(
        input_ids=batch.ids, attention_mask=batch.mask, position_ids=positions, use_cache=False
    ).last_hidden_state
    return at_positions(states, batch.read)


def at_positions(states: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
    """``(b, positions, hidden)`` float32 rows of ``(b, length, hidden)`` states."""
    rows = torch.arange(len(states), device=states.device)[:, None]
    return states[rows, positions.to(states.device)].float()
