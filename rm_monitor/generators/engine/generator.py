"""`EngineGenerator`: answers from the model in this process, with our own schedule over its own forward."""

from __future__ import annotations

import logging
import math
import time
import weakref
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from rm_monitor.errors import is_out_of_memory
from rm_monitor.generators.engine.attention import attending
from rm_monitor.generators.engine.check import TRIAL, disagreement, two_prompts
from rm_monitor.generators.engine.decode import Decoder, Facts
from rm_monitor.generators.engine.schedule import Answer, Job
from rm_monitor.generators.engine.scope import OutOfScope, base_of, why_not, wrappings
from rm_monitor.generators.hf import HFGenerator
from rm_monitor.generators.noise import row_keys
from rm_monitor.generators.rows import Row, completion, end_tokens, rows_of
from rm_monitor.packed.linears import packed_linears
from rm_monitor.packed.memory import free_memory
from rm_monitor.packed.precision import one_precision
from rm_monitor.training.unwrap import unwrap
from rm_monitor.types import Completion, Progress, Prompt, Sampling

__all__ = ["EngineGenerator"]

log = logging.getLogger("rm_monitor")


class EngineGenerator:
    """The same tokens as `HFGenerator`, sooner; models it does not serve go there.

    Rows decode together up to a memory budget, keys and values lie in groups of like length, and prompts are
    packed. Before the first answers of a model two prompts are compared with ``model.generate``.

    Args:
        memory: Bytes for keys and values; None: a quarter of what is free.
        packing: On a CPU, linear layers run from packed copies of their weights where a quarter of the
            free memory holds them.

    Attributes:
        measured: What the last call cost: ``tokens_per_second``, ``row_steps_per_token``, ...
        facts: The same as counts; None before the first call and for models served by transformers.
    """

    repeats = True  # the same weights, prompts and seed: the same answers

    def __init__(self, *, memory: int | None = None, packing: bool = True) -> None:
        if memory is not None and memory < 1:
            raise ValueError(f"`memory` must be at least 1 byte, got {memory}")
        self.memory = memory
        self.packing = packing
        self.measured: Mapping[str, float] = {}
        self.facts: Facts | None = None
        self._length: dict[tuple[int, str, int], int] = {}  # of each row's last answer
        self._fallback = HFGenerator()
        self._checked: weakref.ref[Any] | None = None
        self._wrappings: frozenset[tuple[str, str, str]] = frozenset()
        self._reason = ""
        self._shrunk = 1

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
        self.measured, self.facts = {}, None
        if not rows:
            return []
        began = time.monotonic()
        with one_precision(unwrap(model)) as mixed:
            if self._serves(model, tokenizer, rows, mixed):
                try:
                    return self._answer(rows, sampling, seed, model, tokenizer, progress, began, mixed)
                except OutOfScope as reason:
                    self._hand_over(str(reason))
            return self._fallback.generate(
                prompts, sampling, seed=seed, model=model, tokenizer=tokenizer, progress=progress
            )

    def _answer(
        self,
        rows: Sequence[Row],
        sampling: Sampling,
        seed: int,
        model: Any,
        tokenizer: Any,
        progress: Progress | None,
        began: float,
        mixed: torch.dtype | None,
    ) -> list[Completion]:
        inner = base_of(unwrap(model))
        ends, _ = end_tokens(unwrap(model), tokenizer)
        keys = row_keys(seed, [(row.prompt.id, row.sample) for row in rows]).tolist()
        names = [(seed, row.prompt.id, row.sample) for row in rows]
        number = {row.prompt.id: i for i, row in enumerate(rows)}
        jobs = [
            Job(
                ids=np.array(row.ids, dtype=np.int64),
                prompt=number[row.prompt.id],
                key=key,
                expected=float(self._length.get(name, math.nan)),
            )
            for row, key, name in zip(rows, keys, names, strict=True)
        ]
        answers, facts = self._run(inner, jobs, sampling, ends, progress, mixed)
        self._length |= {name: len(answer.tokens) for name, answer in zip(names, answers, strict=True)}
        self.facts, self.measured = facts, _measured(facts, time.monotonic() - began)
        return [
            completion(
                row,
                answer.tokens.tolist(),
                tokenizer,
                stopped=answer.stopped,
                entropy=answer.entropy,
                mass=answer.mass,
            )
            for row, answer in zip(rows, answers, strict=True)
        ]

    def _run(
        self,
        model: Any,
        jobs: Sequence[Job],
        sampling: Sampling,
        ends: Sequence[int],
        progress: Progress | None,
        mixed: torch.dtype | None,
    ) -> tuple[list[Answer], Facts]:
        device = _device(model)
        slot, row = _bytes(model.config, (mixed or model.dtype).itemsize)
        while True:
            memory = self.memory if self.memory is not None else free_memory(device)
            room = max(1, memory // self._shrunk // slot)
            decoder = Decoder(
                model,
                jobs,
                sampling,
                ends,
                room=room,
                overhead=row // slot,
                progress=progress,
            )
            try:
                limit = self._packing_limit(device)
                with torch.no_grad(), attending(model), packed_linears(model, limit, mixed):
                    return decoder.run(), decoder.facts
            except (RuntimeError, MemoryError) as problem:
                if not is_out_of_memory(problem) or room <= decoder.queue.need(0):
                    raise
                self._shrunk *= 2  # remembered: the next evaluation starts narrower

    def _packing_limit(self, device: torch.device) -> int:
        return free_memory(device) if self.packing else 0

    # ------------------------------------------------------------------ is this a model for us?

    def _serves(self, model: Any, tokenizer: Any, rows: Sequence[Row], mixed: torch.dtype | None) -> bool:
        inner = base_of(unwrap(model))
        reason = why_not(inner)
        now = wrappings(model)
        known = self._checked is not None and self._checked() is model and now == self._wrappings
        if not reason and known:
            reason = self._reason
        if not reason and not known:
            reason = self._trial(model, tokenizer, rows, mixed)
        self._checked, self._wrappings = weakref.ref(model), now
        if reason and not (known and reason == self._reason):
            self._hand_over(reason)
        self._reason = reason
        return not reason

    def _trial(self, model: Any, tokenizer: Any, rows: Sequence[Row], mixed: torch.dtype | None) -> str:
        inner = base_of(unwrap(model))
        _, pad = end_tokens(inner, tokenizer)

        def answer(prompts: Sequence[Sequence[int]]) -> list[Answer]:
            jobs = [Job(ids=np.array(ids, dtype=np.int64), prompt=i, key=0) for i, ids in enumerate(prompts)]
            return self._run(inner, jobs, TRIAL, [], None, mixed)[0]

        try:
            with torch.no_grad():
                return disagreement(unwrap(model), two_prompts([row.ids for row in rows]), pad, answer)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # whatever is odd about this model, generate may still serve it
            return f"a trial failed: {type(error).__name__}: {error}"

    def _hand_over(self, reason: str) -> None:
        log.warning("completions come from transformers' own generate, which is slower: %s", reason)
        self._reason = reason


def _bytes(config: Any, itemsize: int) -> tuple[int, int]:
    """Bytes of one slot in all layers, and of one row's logits."""
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    slot = 2 * config.num_hidden_layers * heads * width * itemsize
    return slot, 12 * config.vocab_size


def _device(model: Any) -> torch.device:
    device: torch.device = next(model.parameters()).device
    return device


def _measured(facts: Facts, seconds: float) -> dict[str, float]:
    return {
        "tokens_per_second": facts.tokens / max(seconds, 1e-9),
        "decode_steps": float(facts.steps),
        "row_steps_per_token": facts.row_steps / max(facts.tokens, 1),
        "prompt_tokens": float(facts.prefilled),
    }
