"""What a policy's makers ask for in its generation config, beside sampling: what is kept, what is left out.

Which tokens may come at all, and which text ends an answer, belongs to the model: it is kept. How tokens are
drawn is the monitor's own `Sampling`, the same for every checkpoint and every server; what it leaves out is
named once.
"""

from __future__ import annotations

import logging
import weakref
from collections.abc import Sequence
from typing import Any

__all__ = ["kept", "say_once", "up_to_stop"]

log = logging.getLogger("rm_monitor")

_KEPT = ("forced_bos_token_id", "suppress_tokens", "begin_suppress_tokens", "bad_words_ids", "stop_strings")
_LEFT_OUT = (
    *("repetition_penalty", "encoder_repetition_penalty", "no_repeat_ngram_size"),
    *("encoder_no_repeat_ngram_size", "min_p", "typical_p", "epsilon_cutoff", "eta_cutoff", "sequence_bias"),
    *("exponential_decay_length_penalty", "min_length", "min_new_tokens", "num_beams", "forced_eos_token_id"),
)
_NOTHING: tuple[Any, ...] = (
    None,
    [],
    (),
    0,
    0.0,
    1,
    1.0,
    False,
    "",
)  # values with which a setting does nothing

_said: weakref.WeakSet[Any] = weakref.WeakSet()


def kept(model: Any) -> dict[str, Any]:
    """The settings of the model's generation config that answers keep to, by name."""
    config = getattr(model, "generation_config", None)
    values = {name: getattr(config, name, None) for name in _KEPT}
    # An id may be 0: a token that is forced is kept whatever its number.
    return {
        name: value
        for name, value in values.items()
        if value is not None and (name == "forced_bos_token_id" or value not in _NOTHING)
    }


def say_once(model: Any) -> None:
    """Name, once a model, what its makers ask for and answers are drawn without."""
    if model in _said:
        return
    _said.add(model)
    config = getattr(model, "generation_config", None)
    values = {name: getattr(config, name, None) for name in _LEFT_OUT}
    left = {name: value for name, value in values.items() if value not in _NOTHING}
    if left:
        with_it = kept(model)
        log.warning(
            "rm_monitor: the policy's generation config is left out where it says how tokens are drawn (%s): "
            "that is `sampling`'s, the same for every checkpoint%s",
            ", ".join(f"{name}={value!r}" for name, value in left.items()),
            f"; {', '.join(with_it)} {'is' if len(with_it) == 1 else 'are'} kept" if with_it else "",
        )


def up_to_stop(tokens: Sequence[int], stops: Sequence[str], tokenizer: Any) -> int | None:
    """How many tokens an answer has when a text that ends it is complete; None if none comes."""
    low, high = 0, len(tokens)
    if not stops or not _has(tokens, stops, tokenizer):
        return None
    while low < high:
        middle = (low + high) // 2
        if _has(tokens[:middle], stops, tokenizer):
            high = middle
        else:
            low = middle + 1
    return low


def _has(tokens: Sequence[int], stops: Sequence[str], tokenizer: Any) -> bool:
    text = tokenizer.decode(tokens, skip_special_tokens=False)
    return any(stop in text for stop in stops)
