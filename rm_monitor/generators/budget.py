"""What answering a row takes, in bytes, and so how many rows are answered at once."""

from __future__ import annotations

from typing import Any

from rm_monitor.types import Sampling

__all__ = ["bytes_of", "head_width", "rows_within"]

ON_A_CPU = 32  # rows of `generate`: more were slower, padding costs what it computes
UNKNOWN = 32  # rows where a config does not say what a row takes
MOST = 1024
TWICE = 2  # transformers' cache grows by copying


def bytes_of(config: Any, itemsize: int, sampling: Sampling) -> tuple[int, int]:
    """Bytes of a token's keys and values in all layers, and of what a row's logits become while it chooses.

    Args:
        config: Of a language model.
        itemsize: Bytes of a number that attention reads.
        sampling: How it chooses.
    """
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    slot = 2 * config.num_hidden_layers * heads * head_width(config) * itemsize
    whole = sampling.temperature > 0 and sampling.top_p >= 1  # noise for every word
    return slot, (36 if whole else 12) * config.vocab_size


def head_width(config: Any) -> int:
    """Numbers of one key."""
    return int(getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)


def rows_within(
    free: int, config: Any, itemsize: int, sampling: Sampling, longest: int, *, on_cpu: bool
) -> int:
    """Rows of transformers' ``generate`` at once.

    Args:
        free: Bytes that may be taken.
        config: Of the model; its text part counts.
        itemsize: Bytes of a number that attention reads.
        sampling: For its longest answer.
        longest: Tokens of the longest prompt.
        on_cpu: Whether it runs on a CPU.
    """
    if on_cpu:
        return ON_A_CPU
    try:
        slot, logits = bytes_of(config.get_text_config(), itemsize, sampling)
    except (AttributeError, TypeError):  # no attention, or more than a text model says
        return UNKNOWN
    row = TWICE * slot * (longest + sampling.max_new_tokens) + logits
    return max(1, min(MOST, free // row))
