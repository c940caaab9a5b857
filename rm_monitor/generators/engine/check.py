"""The engine against ``model.generate``, on two prompts, before it is trusted with a model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import LogitsProcessor

from rm_monitor.generators.engine.schedule import Answer
from rm_monitor.generators.hf import generate_rows, own_settings
from rm_monitor.generators.pick import sharpness
from rm_monitor.packed.precision import product_eps
from rm_monitor.types import Sampling

__all__ = ["LOOK", "TRIAL", "disagreement", "second_look", "two_prompts"]

TRIAL = Sampling(temperature=0.0, max_new_tokens=8)
LOOK = Sampling(temperature=0.0, max_new_tokens=2)  # a prompt, and one step of decoding
LONGEST = 96  # tokens of a trial's prompt: a first evaluation costs hardly more than a later one
COARSE = 2.0**-12  # between float32 and TF32, the finest of the coarse ones


def two_prompts(prompts: Sequence[Sequence[int]]) -> list[Sequence[int]]:
    """A short and a longer one, or what they begin with: rows of unequal length, none that takes long."""
    ordered = sorted((ids[:LONGEST] for ids in prompts), key=len)
    short, long = ordered[0], ordered[-1]
    return [short, long] if len(short) < len(long) else [short[: len(short) // 2 + 1], long]


def disagreement(
    model: Any,
    prompts: Sequence[Sequence[int]],
    pad: int,
    answer: Callable[[Sequence[Sequence[int]]], Sequence[Answer]],
) -> str:
    """Where ``answer`` says something else than greedy ``model.generate``; empty if nowhere.

    Two tokens whose logits differ by less than the rounding of the numbers they were computed in are the same
    answer. Where all tokens are equal the distributions must be, too: a hook that treats the last token of a
    row in its own way need not change a token at once.
    """
    watch = _Sharpness()
    with own_settings(model, TRIAL, [], pad):
        expected = generate_rows(model, prompts, pad, watch)
    entropy = torch.stack(watch.entropy).mean(0).tolist()
    for i, (ids, theirs, ours) in enumerate(zip(prompts, expected, answer(prompts), strict=True)):
        same = np.equal(theirs, ours.tokens)
        at = len(same) if same.all() else int(np.argmin(same))
        logits, rounding = _logits(model, [*ids, *theirs[:at]])
        logits = logits[-1]
        if at == len(same):
            if abs(entropy[i] - ours.entropy) > 8 * rounding:
                return (
                    f"a trial answer had {ours.entropy:.4g} bits a token where generate has {entropy[i]:.4g}"
                )
        elif abs(float(logits[theirs[at]] - logits[int(ours.tokens[at])])) > rounding:
            found = int(ours.tokens[at])
            return f"token {at} of a trial answer was {found} where generate says {theirs[at]}"
    return ""


def second_look(
    model: Any,
    prompts: Sequence[Sequence[int]],
    answer: Callable[[Sequence[Sequence[int]]], Sequence[Answer]],
) -> str:
    """Where two greedy tokens of ``answer`` are not those of the model's own forward; empty if nowhere.

    For a setting whose trial against ``generate`` went well before: one forward a prompt, of the prompt and
    the first token, says what both tokens and their entropies must be.
    """
    for ids, ours in zip(prompts, answer(prompts), strict=True):
        first, second = ours.tokens.tolist()
        logits, rounding = _logits(model, [*ids, first])
        for row, token in zip(logits[-2:], (first, second), strict=True):
            if float(row.max() - row[token]) > rounding:
                return f"token {token} of an answer is not the likeliest of the model's own forward"
        entropy = float(sharpness(logits[-2:].clone())[0].mean())
        if abs(entropy - ours.entropy) > 8 * rounding:
            return f"an answer had {ours.entropy:.4g} bits a token where the model has {entropy:.4g}"
    return ""


class _Sharpness(LogitsProcessor):  # type: ignore[misc]  # transformers is untyped here
    """Notes the entropies, changes nothing."""

    def __init__(self) -> None:
        self.entropy: list[Tensor] = []

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        self.entropy.append(sharpness(scores.clone())[0])
        return scores


def _logits(model: Any, ids: Sequence[int]) -> tuple[Tensor, float]:
    """``(tokens, vocabulary)`` logits of a row, and by how much rounding may move those of its last token.

    The coarsest numbers that the model computed in decide: mixed precision over float32 weights, a last
    layer in float32 over a bfloat16 body, or TF32 products of float32 numbers.
    """
    context = torch.tensor([list(ids)], device=next(model.parameters()).device)
    dtypes = {p.dtype for p in model.parameters() if p.dtype.is_floating_point}
    kind = context.device.type

    def note(*_: object) -> None:
        if torch.is_autocast_enabled(kind):
            dtypes.add(torch.get_autocast_dtype(kind))

    hook = model.get_output_embeddings().register_forward_pre_hook(note)
    try:
        logits = model(input_ids=context, use_cache=False).logits[0].float()
    finally:
        hook.remove()
    eps = max(product_eps(context.device), *(torch.finfo(dtype).eps for dtype in dtypes))
    ulps = 64 if eps < COARSE else 8  # half precision would otherwise excuse half the range of logits
    return logits, ulps * eps * float(logits[-1].abs().max())
