"""What a user may say about a reward model beside where it is."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch

from rm_monitor.scorers.run.batching import Batcher
from rm_monitor.scorers.text.encodings import Bos, Encoding
from rm_monitor.scorers.text.formatting import Formatter, OnOverflow
from rm_monitor.types import Scale

__all__ = ["Options"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The arguments of `load_scorer`, which documents them."""

    index: int | None = None
    weights: Sequence[float] | Mapping[str, float] | None = None
    dtype: str | torch.dtype | None = None
    device: str | torch.device | None = None
    revision: str | None = None
    max_length: int | None = None
    on_overflow: OnOverflow = "skip"
    tokenizer: Any = None
    name: str | None = None
    batch_tokens: int | None = None
    deterministic: bool = False
    strip_think: bool = True
    chat_template: str | None = None
    input_format: str | None = None
    pooling: Literal["auto", "mask", "hf"] = "auto"
    bos: Bos = "template"
    scale: Scale | None = None
    temperature: float | None = None
    reference: Any = None
    beta: float = 0.1
    length_normalised: bool = False
    idle: Literal["device", "cpu", "unload"] = "device"
    principle: str | None = None
    judge_prompt: Any = None
    rubric: str | None = None
    unit_test: str | None = None
    max_tokens: int | None = None

    def __post_init__(self) -> None:
        if self.idle not in ("device", "cpu", "unload"):
            raise ValueError(
                "`idle` is where the weights are between scorings, 'device', 'cpu' or (nowhere) 'unload', "
                f"got {self.idle!r}"
            )
        if self.scale not in (None, "logit", "rating", "unit", "unknown"):
            raise ValueError(f"`scale` must be 'logit', 'rating', 'unit' or 'unknown', got {self.scale!r}")
        if self.temperature is not None and not 0 < self.temperature < math.inf:
            raise ValueError(
                f"`temperature` divides differences of rewards and must be above 0, got {self.temperature}"
            )
        if self.max_tokens is not None and self.max_tokens < 1:
            raise ValueError(
                f"`max_tokens` is a judge's longest reply, at least 1 token, got {self.max_tokens}"
            )
        if self.input_format not in (None, "chat", "text_pair", "plain"):
            raise ValueError(
                f"`input_format` must be 'chat', 'text_pair' or 'plain', got {self.input_format!r}"
            )

        if self.pooling not in ("auto", "mask", "hf"):
            raise ValueError(f"`pooling` must be 'auto', 'mask' or 'hf', got {self.pooling!r}")

    def formatter(self, encoding: Encoding, *, limit: int | None, vocabulary: int | None = None) -> Formatter:
        """The formatter of a model that reads at most ``limit`` tokens, of ``vocabulary`` different ones.

        Raises:
            ValueError: If ``max_length`` asks for more.
        """
        if self.max_length is not None and limit is not None and self.max_length > limit:
            raise ValueError(
                f"`max_length` is the longest input in tokens and the model reads at most {limit}, got "
                f"{self.max_length}"
            )
        return Formatter(
            encoding,
            max_length=limit if self.max_length is None else self.max_length,
            on_overflow=self.on_overflow,
            strip_think=self.strip_think,
            vocabulary=vocabulary,
        )

    def batcher(self, tokenizer: Any, *, vocabulary: int | None = None, switch: int | None = None) -> Batcher:
        """The batcher of a model with this tokenizer.

        Args:
            tokenizer: The reward model's own.
            vocabulary: Tokens the network has an embedding for: a padding token added to the tokenizer alone
                is none of them. What is padded is masked, so any other will do.
            switch: Length at which the network reads positions in another way.
        """
        wanted = (tokenizer.pad_token_id, tokenizer.eos_token_id)
        known = (i for i in wanted if i is not None and (vocabulary is None or 0 <= i < vocabulary))
        return Batcher(
            tokens=self.batch_tokens, single=self.deterministic, pad_id=next(known, 0), switch=switch
        )
