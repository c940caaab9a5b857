"""`EngineGenerator`: answers from the model in this process, with our own schedule over its own forward."""

from __future__ import annotations

import logging
import math
import time
import weakref
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch

from rm_monitor.generators.budget import bytes_of, head_width
from rm_monitor.generators.engine.attention import Forward, attending
from rm_monitor.generators.engine.check import LOOK, TRIAL, disagreement, second_look, two_prompts
from rm_monitor.generators.engine.choosing import Chooser
from rm_monitor.generators.engine.decode import Decoder
from rm_monitor.generators.engine.facts import Facts
from rm_monitor.generators.engine.grouped import Grouped
from rm_monitor.generators.engine.paged import Paged
from rm_monitor.generators.engine.remembered import Trials, setting_of
from rm_monitor.generators.engine.rows import Flight, Table
from rm_monitor.generators.engine.schedule import Answer, Job, Queue
from rm_monitor.generators.engine.scope import OutOfScope, base_of, why_not, wrappings
from rm_monitor.generators.engine.varlen import Varlen, kernel_of, reference
from rm_monitor.generators.hf import HFGenerator
from rm_monitor.generators.makers import say_once
from rm_monitor.generators.noise import row_keys
from rm_monitor.generators.rows import Row, completion, end_tokens, refuse_not_finite, rows_of
from rm_monitor.packed.linears import packed_linears
from rm_monitor.packed.memory import free_memory, give_back
from rm_monitor.packed.precision import one_precision
from rm_monitor.training.unwrap import unwrap
from rm_monitor.types import Completion, Progress, Prompt, Sampling

__all__ = ["EngineGenerator"]

log = logging.getLogger("rm_monitor")

PAGE = 256  # slots: what torch's kernel takes


class EngineGenerator:
    """The same tokens as `HFGenerator`, sooner; models it does not serve go there.

    Rows decode together up to a memory budget, keys and values lie in groups of like length or, where the
    device has attention for it, in pages, and prompts are packed. Before the first answers of a model two
    prompts are compared with ``model.generate``.

    Args:
        memory: Bytes for keys and values; None: a quarter of what is free.
        pages: Slots of a page of keys and values; None: pages where the device has a kernel for them. Where
            it has none they are attended to in plain torch, which is slow and says the same.
        packing: On a CPU, linear layers run from packed copies of their weights where a quarter of the
            free memory holds them.

    Attributes:
        measured: What the last call cost: ``tokens_per_second``, ``row_steps_per_token``, ...
        facts: The same as counts; None before the first call and for models served by transformers.
    """

    repeats = True  # the same weights, prompts and seed: the same answers

    def __init__(self, *, memory: int | None = None, pages: int | None = None, packing: bool = True) -> None:
        if memory is not None and memory < 1:
            raise ValueError(f"`memory` must be at least 1 byte, got {memory}")
        if pages is not None and pages < 1:
            raise ValueError(f"`pages` must be at least 1 slot, got {pages}")
        self.memory = memory
        self.pages = pages
        self.packing = packing
        self.measured: Mapping[str, float] = {}
        self.facts: Facts | None = None
        self._length: dict[tuple[int, str, int], int] = {}  # of each row's last answer
        self._fallback = HFGenerator()
        self._checked: weakref.ref[Any] | None = None
        self._wrappings: frozenset[tuple[str, str, str]] = frozenset()
        self._reason = ""
        self._most = 1 << 62  # slots that memory turned out to have

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
                key=(key[0], key[1]),
                expected=float(self._length.get(name, math.nan)),
            )
            for row, key, name in zip(rows, keys, names, strict=True)
        ]
        answers, facts = self._run(inner, jobs, sampling, ends, progress, mixed)
        self._length |= {name: len(answer.tokens) for name, answer in zip(names, answers, strict=True)}
        self.facts, self.measured = facts, facts.measured(time.monotonic() - began)
        said = [
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
        refuse_not_finite(said)
        return said

    def _run(
        self,
        model: Any,
        jobs: Sequence[Job],
        sampling: Sampling,
        ends: Sequence[int],
        progress: Progress | None,
        mixed: torch.dtype | None,
        packing: bool | None = None,
    ) -> tuple[list[Answer], Facts]:
        device, dtype = _device(model), mixed or model.dtype
        slot, row = bytes_of(model.config, dtype.itemsize, sampling)
        page, attention = self._paging(model, dtype)
        budget = self.memory if self.memory is not None else free_memory(device)
        facts, table = Facts(), Table(jobs, sampling.max_new_tokens)
        forward, chooser = (
            Forward(model, facts),
            Chooser(sampling, few=device.type == "cpu" and attention is None),
        )
        queue = Queue(jobs, sampling.max_new_tokens, row // slot, page)

        def take_off(room: int) -> Flight:
            if attention is None:
                return Grouped(table, forward, chooser, device)
            slots = room - room * queue.overhead // int(queue.needs.max())
            return Paged(table, forward, chooser, device, attention=attention, room=slots, page=page)

        decoder = Decoder(
            table,
            queue,
            ends,
            room=max(1, min(budget // slot, self._most)),
            take_off=take_off,
            give_back=lambda: give_back(device),
            facts=facts,
            progress=progress,
        )
        limit = free_memory(device) if (self.packing if packing is None else packing) else 0
        with torch.no_grad(), attending(model), packed_linears(model, limit, mixed):
            answers = decoder.run()
        if facts.narrowed:
            self._most = decoder.room  # the next evaluation starts narrower
        return answers, facts

    def _paging(self, model: Any, dtype: torch.dtype) -> tuple[int, Varlen | None]:
        """Slots of a page, and the attention over pages; None: keys and values lie in groups."""
        attention = kernel_of(_device(model), dtype, head_width(model.config))
        if self.pages is not None:
            return self.pages, attention or reference
        return (PAGE, attention) if attention is not None else (1, None)

    # ------------------------------------------------------------------ is this a model for us?

    def _serves(self, model: Any, tokenizer: Any, rows: Sequence[Row], mixed: torch.dtype | None) -> bool:
        inner = base_of(unwrap(model))
        say_once(unwrap(model))
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
        asked = two_prompts([row.ids for row in rows])
        trials, setting = Trials(), setting_of(inner, wrappings(model), mixed, self.pages, self.packing)

        def answer(
            prompts: Sequence[Sequence[int]], sampling: Sampling = TRIAL, packing: bool | None = None
        ) -> list[Answer]:
            jobs = [
                Job(ids=np.array(ids, dtype=np.int64), prompt=i, key=(0, 0)) for i, ids in enumerate(prompts)
            ]
            return self._run(inner, jobs, sampling, [], None, mixed, packing)[0]

        try:
            with torch.no_grad():
                if trials.passed(setting):
                    if not second_look(unwrap(model), asked, partial(answer, sampling=LOOK, packing=False)):
                        return ""
                    trials.forget(setting)
                reason = disagreement(unwrap(model), asked, pad, answer)
                if not reason:
                    trials.remember(setting)
                return reason
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # whatever is odd about this model, generate may still serve it
            return f"a trial failed: {type(error).__name__}: {error}"

    def _hand_over(self, reason: str) -> None:
        log.warning("completions come from transformers' own generate, which is slower: %s", reason)
        self._reason = reason


def _device(model: Any) -> torch.device:
    device: torch.device = next(model.parameters()).device
    return device
