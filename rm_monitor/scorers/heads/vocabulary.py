"""Single logits of a language model, without computing the others."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from rm_monitor.errors import ScorerError
from rm_monitor.scorers.checkpoint import Checkpoint

__all__ = ["vocabulary_rows"]

# Models that change their logits after the head; a row of it is then not the logit.
CHANGED = ("final_logit_softcapping", "logit_scale", "logits_scaling", "lm_head_multiplier")


def vocabulary_rows(checkpoint: Checkpoint, tokens: Sequence[int]) -> torch.Tensor:
    """``(tokens, hidden)`` rows of the vocabulary head, which is the embedding where the two are tied.

    Raises:
        ScorerError: If there is no such head, or the model changes its logits after it.
    """
    for setting in CHANGED:
        if checkpoint.config.get(setting) not in (None, 1, 1.0):
            raise ScorerError(
                f"{checkpoint.name!r} changes its logits after the head ({setting}), which this kind "
                "does not support"
            )
    heads = [n for n in checkpoint.tensors if n.endswith(("lm_head.weight", "embed_out.weight"))]
    tied = [
        n for n in checkpoint.tensors if n.endswith(("embed_tokens.weight", "wte.weight", "embed_in.weight"))
    ]
    name = next(iter([*heads, *tied]), None)
    if name is None:
        raise ScorerError(f"{checkpoint.name!r} has no vocabulary head, so it is not a language model")
    return checkpoint.read([name])[name][list(tokens)]
