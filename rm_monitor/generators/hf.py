"""Answers from the model in this process, by transformers' own ``generate``: any architecture."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList

from rm_monitor.errors import GenerationError
from rm_monitor.generators.chat import prompt_ids
from rm_monitor.generators.noise import choose, row_keys
from rm_monitor.types import Completion, Progress, Prompt, Sampling

__all__ = ["HFGenerator"]

DEFAULT_BATCH = 32


class HFGenerator:
    """Answers with the weights as they stand; completions do not depend on the batch size.

    Args:
        batch_size: Rows at once; halved, and remembered, when memory runs out.
    """

    def __init__(self, *, batch_size: int = DEFAULT_BATCH) -> None:
        if batch_size < 1:
            raise ValueError(f"`batch_size` must be at least 1, got {batch_size}")
        self.batch_size = batch_size

    def generate(
        self,
        prompts: Sequence[Prompt],
        sampling: Sampling,
        *,
        seed: int = 0,
        model: Any = None,
        tokenizer: Any = None,
        progress: Progress | None = None,
    ) -> list[Completion]:
        """See `rm_monitor.Generator`."""
        if not prompts:
            return []
        if model is None or tokenizer is None:
            raise GenerationError("answering in this process needs the model and its tokenizer")
        model = _plain(model)
        ends, pad = _ends(model, tokenizer)
        rows = [
            _Row(prompt=p, sample=k, ids=ids)
            for p in prompts
            for ids in [prompt_ids(p, tokenizer)]
            for k in range(sampling.samples_per_prompt)
        ]
        answers: dict[int, Completion] = {}
        queue = sorted(
            range(len(rows)), key=lambda i: (len(rows[i].ids), i)
        )  # like lengths together: little padding
        with _own_settings(model, sampling, ends, pad):
            while queue:
                batch = queue[: self.batch_size]
                try:
                    found = _answer(model, tokenizer, [rows[i] for i in batch], sampling, seed, ends, pad)
                except torch.OutOfMemoryError:
                    if self.batch_size == 1:
                        raise
                    self.batch_size = max(1, self.batch_size // 2)
                    continue
                answers |= dict(zip(batch, found, strict=True))
                queue = queue[len(batch) :]
                if progress is not None:
                    progress(len(answers), len(rows))
        return [answers[i] for i in range(len(rows))]


@dataclass(frozen=True, slots=True)
class _Row:
    prompt: Prompt
    sample: int
    ids: list[int]


class _Chooser(LogitsProcessor):  # type: ignore[misc]  # transformers is untyped here
    """Chooses each row's next token itself and notes what the distribution looked like."""

    def __init__(self, keys: Tensor, sampling: Sampling) -> None:
        self.keys = keys
        self.sampling = sampling
        self.position = 0
        self.entropy: list[Tensor] = []
        self.mass: list[Tensor] = []

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        positions = torch.full_like(self.keys, self.position)
        chosen = choose(
            scores, self.keys, positions, temperature=self.sampling.temperature, top_p=self.sampling.top_p
        )
        top = scores.float().topk(min(10, scores.shape[-1]), dim=-1).values
        self.mass.append(torch.exp(top.logsumexp(-1) - scores.float().logsumexp(-1)))
        p = top.softmax(-1)
        self.entropy.append(-(p * torch.log2(p.clamp_min(1e-30))).sum(-1))
        self.position += 1
        only = torch.full_like(scores, -math.inf)
        return only.scatter(1, chosen[:, None], 0.0)


def _answer(
    model: Any, tokenizer: Any, rows: Sequence[_Row], sampling: Sampling, seed: int, ends: list[int], pad: int
) -> list[Completion]:
    device = next(model.parameters()).device
    longest = max(len(row.ids) for row in rows)
    ids = torch.tensor([[pad] * (longest - len(r.ids)) + r.ids for r in rows], device=device)
    mask = torch.tensor([[0] * (longest - len(r.ids)) + [1] * len(r.ids) for r in rows], device=device)
    chooser = _Chooser(row_keys(seed, [(r.prompt.id, r.sample) for r in rows], device), sampling)
    out = model.generate(input_ids=ids, attention_mask=mask, logits_processor=LogitsProcessorList([chooser]))
    entropy, mass = torch.stack(chooser.entropy, 1).cpu(), torch.stack(chooser.mass, 1).cpu()
    return [
        _completion(row, tokens, tokenizer, ends, entropy[i], mass[i])
        for i, (row, tokens) in enumerate(zip(rows, out[:, longest:].tolist(), strict=True))
    ]


def _completion(
    row: _Row, tokens: list[int], tokenizer: Any, ends: list[int], entropy: Tensor, mass: Tensor
) -> Completion:
    stop = next((j for j, token in enumerate(tokens) if token in ends), None)
    n = len(tokens) if stop is None else stop + 1
    return Completion(
        prompt_id=row.prompt.id,
        text=tokenizer.decode(tokens[:n], skip_special_tokens=True),
        sample=row.sample,
        finish_reason="length" if stop is None else "stop",
        n_tokens=n,
        entropy=float(entropy[:n].mean()),
        top10_mass=float(mass[:n].mean()),
    )


def _plain(model: Any) -> Any:
    """The module below DDP and torch.compile: its forward has no collectives and compiles nothing."""
    while True:
        inner = getattr(model, "_orig_mod", None)
        if inner is None and type(model).__name__ == "DistributedDataParallel":
            inner = model.module
        if inner is None:
            return model
        model = inner


def _ends(model: Any, tokenizer: Any) -> tuple[list[int], int]:
    """Tokens that end an answer, and a token to pad with."""
    ends: list[int] = []
    for holder in (getattr(model, "generation_config", None), model.config, tokenizer):
        found = getattr(holder, "eos_token_id", None)
        for token in found if isinstance(found, (list, tuple)) else [found]:
            if token is not None and token not in ends:
                ends.append(int(token))
    pad = tokenizer.pad_token_id
    return ends, int(pad if pad is not None else ends[0] if ends else 0)


@contextmanager
def _own_settings(model: Any, sampling: Sampling, ends: list[int], pad: int) -> Iterator[None]:
    """Generate by our settings alone: a partly filled config would inherit the model's other fields."""
    own = GenerationConfig(
        do_sample=False,
        max_new_tokens=sampling.max_new_tokens,
        eos_token_id=ends or None,
        pad_token_id=pad,
        use_cache=True,
        num_beams=1,
    )
    holders = [m for m in model.modules() if "generation_config" in vars(m)] or [model]
    before = [getattr(m, "generation_config", None) for m in holders]
    for holder in holders:
        holder.generation_config = copy.deepcopy(own)
    try:
        yield
    finally:
        for holder, config in zip(holders, before, strict=True):
            holder.generation_config = config
