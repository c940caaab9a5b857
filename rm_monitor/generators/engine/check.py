"""The engine against ``model.generate``, on two prompts, before it is trusted with a model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rm_monitor.generators.hf import generate_rows, own_settings
from rm_monitor.types import Sampling

__all__ = ["TRIAL", "disagreement", "two_prompts"]

TRIAL = Sampling(temperature=0.0, max_new_tokens=8)
LONGEST = 512


def two_prompts(prompts: Sequence[Sequence[int]]) -> list[Sequence[int]]:
    """A short and a longer one: rows of unequal length, none that takes long."""
    ordered = sorted(prompts, key=len)
    fitting = [ids for ids in ordered if len(ids) <= LONGEST] or [ordered[0][:LONGEST]]
    return [fitting[0], fitting[-1]] if len(fitting) > 1 else [fitting[0], fitting[0][:1]]


def disagreement(
    model: Any,
    prompts: Sequence[Sequence[int]],
    pad: int,
    answer: Callable[[Sequence[Sequence[int]]], Sequence[NDArray[np.int64]]],
) -> str:
    """Where ``answer`` says something else than greedy ``model.generate``; empty if nowhere.

    Two tokens whose logits differ by less than the rounding of the model's dtype are the same answer.
    """
    with own_settings(model, TRIAL, [], pad):
        expected = generate_rows(model, prompts, pad)
    for ids, theirs, ours in zip(prompts, expected, answer(prompts), strict=True):
        same = np.equal(theirs, ours)
        if same.all():
            continue
        at = int(np.argmin(same))
        context = torch.tensor([[*ids, *theirs[:at]]], device=next(model.parameters()).device)
        logits = model(input_ids=context, use_cache=False).logits[0, -1].float()
        gap = float(logits[theirs[at]] - logits[int(ours[at])])
        rounding = 64 * torch.finfo(model.dtype).eps * float(logits.abs().max())
        if abs(gap) > rounding:
            return f"token {at} of a trial answer was {int(ours[at])} where generate says {theirs[at]}"
    return ""
