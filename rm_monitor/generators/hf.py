"""Answers from the model in this process, by transformers' own ``generate``: any architecture."""

from __future__ import annotations

import copy
import logging
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList

from rm_monitor.errors import is_out_of_memory
from rm_monitor.generators.apart import Reads, apart, reads
from rm_monitor.generators.budget import rows_within
from rm_monitor.generators.makers import kept, say_once, up_to_stop
from rm_monitor.generators.noise import choose, row_keys
from rm_monitor.generators.pick import sharpness
from rm_monitor.generators.rows import Row, completion, end_tokens, refuse_not_finite, rows_of
from rm_monitor.packed.memory import free_memory, give_back
from rm_monitor.packed.precision import one_precision
from rm_monitor.training.sharded.keep import in_step
from rm_monitor.training.unwrap import unwrap
from rm_monitor.types import Completion, Progress, Prompt, Sampling

__all__ = ["HFGenerator", "generate_rows", "own_settings"]

log = logging.getLogger("rm_monitor")

_IN_STEP = 8  # rows at once where all ranks must enter each forward together


class HFGenerator:
    """Answers with the weights as they stand; completions do not depend on the batch size or the order.

    A batch runs until its longest row has ended, so rows go with those whose answers were as long as theirs
    at the last evaluation, the longest first; rows that nobody has seen go by the length of their prompts.

    Args:
        batch_size: Rows at once; halved, and remembered, when memory runs out. None: 32 on a CPU, elsewhere
            as many as a quarter of the free memory holds; 8 where sharded weights are kept so.

    Attributes:
        batch_size: As given, or as memory turned out; None: not known yet.
    """

    repeats = True  # the same weights, prompts and seed: the same answers

    def __init__(self, *, batch_size: int | None = None) -> None:
        if batch_size is not None and batch_size < 1:
            raise ValueError(f"`batch_size` must be at least 1, got {batch_size}")
        self.batch_size = batch_size
        self._length: dict[tuple[int, str, int], int] = {}  # of each row's last answer

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
        rows = rows_of(prompts, sampling, model, tokenizer)
        if not rows:
            return []
        model = unwrap(model)
        ends, pad = end_tokens(model, tokenizer)
        say_once(model)
        answers: dict[int, Completion] = {}
        names = [(seed, row.prompt.id, row.sample) for row in rows]
        queue = _like_with_like(rows, [self._length.get(name) for name in names])
        with one_precision(model) as mixed, own_settings(model, sampling, ends, pad):
            together = in_step(model)  # as many forwards as every other rank, whatever its prompts and memory
            name = (
                (lambda i: "")
                if together
                else apart(
                    model,
                    [len(row.ids) for row in rows],
                    sampling.max_new_tokens,
                    lambda: _reads(model, rows, pad),
                )
            )
            while queue:
                size = self.batch_size or (
                    _IN_STEP if together else _rows_at_once(model, mixed, rows, sampling)
                )
                batch = [i for i in queue if name(i) == name(queue[0])][:size]
                found: list[Completion] | None
                try:
                    found = _answer(model, tokenizer, [rows[i] for i in batch], sampling, seed, ends, pad)
                except (RuntimeError, MemoryError) as problem:
                    if len(batch) == 1 or not is_out_of_memory(problem):
                        raise
                    found = None
                if (
                    found is None
                ):  # outside the handler: the exception kept the failed forward's tensors alive
                    self.batch_size = len(batch) // 2
                    log.warning("answering ran out of memory: %d rows at once from now on", self.batch_size)
                    give_back(next(model.parameters()).device)
                    continue
                answers |= dict(zip(batch, found, strict=True))
                self._length |= {names[i]: answers[i].n_tokens for i in batch}
                done = set(batch)
                queue = [i for i in queue if i not in done]
                if progress is not None:
                    progress(len(answers), len(rows))
        said = [answers[i] for i in range(len(rows))]
        refuse_not_finite(said)
        return said


def _rows_at_once(model: Any, mixed: torch.dtype | None, rows: Sequence[Row], sampling: Sampling) -> int:
    """Of `generate`, by what memory holds now."""
    parameter = next(model.parameters())
    longest = max(len(row.ids) for row in rows)
    itemsize = (mixed or getattr(model, "dtype", None) or parameter.dtype).itemsize
    return rows_within(
        free_memory(parameter.device),
        model.config,
        itemsize,
        sampling,
        longest,
        on_cpu=parameter.device.type == "cpu",
    )


def _like_with_like(rows: Sequence[Row], lengths: Sequence[int | None]) -> list[int]:
    """Numbers of the rows, those of like length together."""
    seen = [i for i, length in enumerate(lengths) if length is not None]
    new = [i for i, length in enumerate(lengths) if length is None]
    seen.sort(key=lambda i: (-(lengths[i] or 0), len(rows[i].ids), i))
    new.sort(key=lambda i: (len(rows[i].ids), i))
    return seen + new


class _Chooser(LogitsProcessor):  # type: ignore[misc]  # transformers is untyped here
    """Chooses each row's next token itself and notes what the distribution looked like."""

    def __init__(self, keys: Tensor, sampling: Sampling) -> None:
        self.keys = keys
        self.sampling = sampling
        self.position = 0
        self.entropy: list[Tensor] = []
        self.mass: list[Tensor] = []

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        positions = torch.full((len(self.keys),), self.position, device=self.keys.device)
        chosen = choose(
            scores, self.keys, positions, temperature=self.sampling.temperature, top_p=self.sampling.top_p
        )
        entropy, mass = sharpness(scores)
        self.entropy.append(entropy)
        self.mass.append(mass)
        self.position += 1
        only = torch.full_like(scores, -math.inf)
        return only.scatter(1, chosen[:, None], 0.0)


def _answer(
    model: Any, tokenizer: Any, rows: Sequence[Row], sampling: Sampling, seed: int, ends: list[int], pad: int
) -> list[Completion]:
    keys = row_keys(seed, [(r.prompt.id, r.sample) for r in rows], next(model.parameters()).device)
    chooser = _Chooser(keys, sampling)
    stops = kept(model).get("stop_strings") or ()
    stops = (stops,) if isinstance(stops, str) else tuple(stops)
    more = {"tokenizer": tokenizer} if stops else {}
    said = generate_rows(model, [row.ids for row in rows], pad, chooser, **more)
    entropy, mass = torch.stack(chooser.entropy, 1).cpu(), torch.stack(chooser.mass, 1).cpu()
    answers = []
    for i, (row, tokens) in enumerate(zip(rows, said, strict=True)):
        stop = next((j for j, token in enumerate(tokens) if token in ends), None)
        n = len(tokens) if stop is None else stop + 1
        spelled = up_to_stop(tokens[:n], stops, tokenizer)
        n = n if spelled is None else spelled
        facts = {"entropy": float(entropy[i, :n].mean()), "mass": float(mass[i, :n].mean())}
        stopped = stop is not None or spelled is not None
        answers.append(_before(stops, completion(row, tokens[:n], tokenizer, stopped=stopped, **facts)))
    return answers


def _before(stops: Sequence[str], answer: Completion) -> Completion:
    """The answer without the text that ended it."""
    for stop in stops:
        answer = replace(answer, text=answer.text.partition(stop)[0])
    return answer


def _reads(model: Any, rows: Sequence[Row], pad: int) -> Reads:
    def scores(prompts: Sequence[Sequence[int]]) -> Tensor:
        first = _Scores()
        with own_settings(model, Sampling(max_new_tokens=2), [], pad):
            generate_rows(model, prompts, pad, first)
        return torch.stack(first.seen)

    dtypes = {p.dtype for p in model.parameters() if p.dtype.is_floating_point}
    kind = next(model.parameters()).device.type
    if torch.is_autocast_enabled(kind):
        dtypes.add(torch.get_autocast_dtype(kind))
    return reads(scores, [row.ids for row in rows], max(dtypes, key=lambda dtype: torch.finfo(dtype).eps))


class _Scores(LogitsProcessor):  # type: ignore[misc]  # transformers is untyped here
    """Notes the scores, and makes every row say the same."""

    def __init__(self) -> None:
        self.seen: list[Tensor] = []

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        self.seen.append(scores.clone())
        said = torch.full_like(scores, -math.inf)
        said[:, 0] = 0.0
        return said


def generate_rows(
    model: Any, rows: Sequence[Sequence[int]], pad: int, *processors: LogitsProcessor, **more: Any
) -> list[list[int]]:
    """What ``model.generate`` adds to these rows, as it stands inside `own_settings`."""
    longest = max(len(ids) for ids in rows)
    device = next(model.parameters()).device
    ids = torch.tensor([[pad] * (longest - len(r)) + list(r) for r in rows], device=device)
    mask = torch.tensor([[0] * (longest - len(r)) + [1] * len(r) for r in rows], device=device)
    out = model.generate(
        input_ids=ids, attention_mask=mask, logits_processor=LogitsProcessorList(processors), **more
    )
    given = (
        1 if getattr(model.config, "is_encoder_decoder", False) else longest
    )  # a decoder repeats its start alone
    said: list[list[int]] = out[:, given:].tolist()
    return said


@contextmanager
def own_settings(model: Any, sampling: Sampling, ends: list[int], pad: int) -> Iterator[None]:
    """Generate by our settings and what the model's makers ask for beside them (`makers.kept`).

    A partly filled config would inherit the model's other fields.
    """
    own = GenerationConfig(
        do_sample=False,
        max_new_tokens=sampling.max_new_tokens,
        eos_token_id=ends or None,
        pad_token_id=pad,
        use_cache=True,
        num_beams=1,
        decoder_start_token_id=_decoder_start(model),
        **kept(model),
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


def _decoder_start(model: Any) -> int | None:
    """What the decoder of an encoder-decoder begins with; None for other models."""
    if not getattr(model.config, "is_encoder_decoder", False):
        return None
    for name in ("decoder_start_token_id", "bos_token_id"):
        for holder in (getattr(model, "generation_config", None), model.config):
            found: int | None = getattr(holder, name, None)
            if found is not None:
                return found
    return None
