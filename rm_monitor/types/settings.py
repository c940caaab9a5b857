"""Settings that are values of their own: frozen, and validated when they are built."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias

__all__ = ["Sampling", "Tolerance"]

Tolerance: TypeAlias = float | Literal["jitter"]  # a share, or what the run itself shows


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How completions are drawn. All of it is recorded, and a change starts a new segment.

    Attributes:
        temperature: 0 is greedy; else logits are divided by it.
        top_p: Nucleus: the smallest set of tokens with at least this probability, in (0, 1].
        max_new_tokens: Longest completion, in the policy's tokens.
        samples_per_prompt: Completions drawn for each prompt; averaged inside the prompt.

    Raises:
        ValueError: If a value is out of range.
    """

    temperature: float = 0.7
    top_p: float = 0.95
    max_new_tokens: int = 256
    samples_per_prompt: int = 1

    def __post_init__(self) -> None:
        if not (math.isfinite(self.temperature) and self.temperature >= 0):
            raise ValueError(f"`temperature` must be 0 (greedy) or more, got {self.temperature}")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"`top_p` is a probability in (0, 1], got {self.top_p}")
        if self.max_new_tokens < 1:
            raise ValueError(f"`max_new_tokens` must be at least 1, got {self.max_new_tokens}")
        if self.samples_per_prompt < 1:
            raise ValueError(f"`samples_per_prompt` must be at least 1, got {self.samples_per_prompt}")
