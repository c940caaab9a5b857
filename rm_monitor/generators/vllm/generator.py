"""`VLLMGenerator`: vLLM's engine in the training process, with the weights in training."""

from __future__ import annotations

import importlib.util
import math
import time
import weakref
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from rm_monitor.errors import GenerationError
from rm_monitor.generators.engine.check import TRIAL, disagreement, two_prompts
from rm_monitor.generators.engine.schedule import Answer
from rm_monitor.generators.engine.scope import base_of, wrappings
from rm_monitor.generators.makers import kept, say_once
from rm_monitor.generators.rows import Row, completion, end_tokens, rows_of
from rm_monitor.generators.server.dialects import seed_of
from rm_monitor.generators.vllm.start import INSTALL, refresh, start
from rm_monitor.generators.vllm.weights import named_weights, why_not_handed_over
from rm_monitor.packed.memory import give_back
from rm_monitor.packed.precision import mixed_precision
from rm_monitor.training.ranks import Ranks
from rm_monitor.training.unwrap import unwrap
from rm_monitor.types import Completion, Progress, Prompt, Sampling

__all__ = ["VLLMGenerator"]


class VLLMGenerator:
    """Answers from one vLLM engine, started at the first evaluation and kept for the run.

    At each call it is given the weights by reference, layer by layer, adapters merged into copies; between
    calls it sleeps where its platform can, so that training has the memory. Before its first answers of a
    model two prompts are compared with ``model.generate``. With several processes each has an engine of its
    own for its share of the prompts, and all start together or none does.

    An answer depends on the weights, its prompt, the sampling and ``(seed, prompt id, sample)``; in half
    precision also on what vLLM batches it with. vLLM tells no entropies: those metrics are unknown.

    Args:
        memory: Bytes for keys and values; None: a quarter of what is free.
        options: Arguments of ``vllm.LLM`` that go before ours.

    Raises:
        ValueError: If ``memory`` is less than a byte, or vLLM is not installed.
    """

    repeats = True  # the same weights, prompts and seed: the same answers

    def __init__(self, *, memory: int | None = None, **options: Any) -> None:
        if memory is not None and memory < 1:
            raise ValueError(f"`memory` must be at least 1 byte, got {memory}")
        if importlib.util.find_spec("vllm") is None:
            raise ValueError(f'generator="vllm" needs vLLM in this environment: {INSTALL}')
        self.memory = memory
        self.options = options
        self.measured: Mapping[str, float] = {}
        self._engine: Any = None
        self._folder: Any = None  # of its configuration, as long as it runs
        self._serves: tuple[str, torch.dtype] | None = None
        self._checked: weakref.ref[Any] | None = None
        self._wrappings: frozenset[tuple[str, str, str]] = frozenset()

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
        """See `rm_monitor.Generator`. With several processes all call it, also those without prompts.

        Raises:
            GenerationError: If vLLM is missing, refuses the model, or answers otherwise than the model does.
        """
        self.measured = {}
        rows = rows_of(prompts, sampling, model, tokenizer)
        self._ready(model)
        if not rows:
            return []
        self._fits(rows, sampling)
        began = time.monotonic()
        ends, _ = end_tokens(unwrap(model), tokenizer)
        self._wake(model)
        try:
            self._try(model, tokenizer, rows)
            seeds = [seed_of(seed, row.prompt.id, row.sample) for row in rows]
            said = self._ask([row.ids for row in rows], sampling, ends, seeds)
        finally:
            self._sleep(model)
        if progress is not None:
            progress(len(rows), len(rows))
        tokens = sum(len(answer.tokens) for answer in said)
        self.measured = {"tokens_per_second": tokens / max(1e-9, time.monotonic() - began)}
        return [
            completion(
                row,
                answer.tokens.tolist(),
                tokenizer,
                stopped=answer.stopped,
                entropy=answer.entropy,
                mass=answer.mass,
            )
            for row, answer in zip(rows, said, strict=True)
        ]

    # ------------------------------------------------------------------ the engine

    def _ready(self, model: Any) -> None:
        """An engine for this model; the one of before where it serves it."""
        inner = base_of(unwrap(model))
        dtype = mixed_precision(unwrap(model)) or inner.dtype
        wanted = (type(inner).__name__ + inner.config.to_json_string(), dtype)
        if self._engine is not None and wanted == self._serves:
            return
        ranks, error = Ranks.current(), None
        try:
            self._refuse(model)
        except GenerationError as problem:
            error = problem
        _, errors = ranks.agree(None, error)  # its start is a collective: all, or none
        if error is not None:
            raise error
        if errors:
            raise GenerationError("; ".join(f"rank {rank}: {text}" for rank, text in errors.items()))
        self._engine, self._folder = start(
            model, dtype, memory=self.memory, ranks=ranks.size, options=self.options
        )
        self._serves = wanted
        self._sleep(model)

    def _refuse(self, model: Any) -> None:
        inner = base_of(unwrap(model))
        rules = kept(inner)
        reason = why_not_handed_over(model) or (
            f"its generation config has `{next(iter(rules))}`" if rules else ""
        )
        if not reason and self._engine is not None:
            reason = "this process runs a vLLM engine of another model or precision already"
        if reason:
            raise GenerationError(
                f'generator="vllm" does not serve this {type(inner).__name__}: {reason}. Leave `generator` '
                "out, and the engine of this package answers"
            )
        say_once(inner)

    def _wake(self, model: Any) -> None:
        """Give it the weights as they stand."""
        engine = self._engine
        asleep = engine.llm_engine.model_config.enable_sleep_mode
        if asleep:
            give_back(next(unwrap(model).parameters()).device)  # vLLM takes memory from the driver
            engine.wake_up(tags=["weights"])
        engine.collective_rpc("reload_weights", kwargs={"weights_iterator": named_weights(model)})
        engine.apply_model(refresh)
        if asleep:
            engine.wake_up(tags=["kv_cache"])
        engine.reset_prefix_cache()

    def _sleep(self, model: Any) -> None:
        if self._engine.llm_engine.model_config.enable_sleep_mode:
            self._engine.sleep(level=2)  # weights come anew each time

    # ------------------------------------------------------------------ answers

    def _fits(self, rows: Sequence[Row], sampling: Sampling) -> None:
        most = int(self._engine.llm_engine.model_config.max_model_len)
        longest = max(rows, key=lambda row: len(row.ids))
        if len(longest.ids) + sampling.max_new_tokens > most:
            raise GenerationError(
                f"prompt {longest.prompt.label} has {len(longest.ids)} tokens, and with max_new_tokens="
                f"{sampling.max_new_tokens} it is longer than the {most} that vLLM has room for: give it "
                "more with generator={'vllm': {'memory': BYTES}}, or leave the prompt out"
            )

    def _try(self, model: Any, tokenizer: Any, rows: Sequence[Row]) -> None:
        """Two prompts against ``model.generate``: weights arrived, and nothing hangs in the model alone."""
        now = wrappings(model)
        if self._checked is not None and self._checked() is model and now == self._wrappings:
            return
        _, pad = end_tokens(base_of(unwrap(model)), tokenizer)
        with torch.no_grad():
            reason = disagreement(
                unwrap(model),
                two_prompts([row.ids for row in rows]),
                pad,
                lambda ids: self._ask(ids, TRIAL, [], [0] * len(ids)),
            )
        if reason:
            raise GenerationError(
                f"vLLM answers otherwise than the model in training: {reason}. Leave `generator` out, and "
                "the engine of this package answers"
            )
        self._checked, self._wrappings = weakref.ref(model), now

    def _ask(
        self, ids: Sequence[Sequence[int]], sampling: Sampling, ends: Sequence[int], seeds: Sequence[int]
    ) -> list[Answer]:
        from vllm import SamplingParams  # noqa: PLC0415  see `start`

        asked = [
            SamplingParams(
                temperature=sampling.temperature,
                top_p=sampling.top_p,
                max_tokens=sampling.max_new_tokens,
                seed=seed,
                stop_token_ids=list(ends),
                ignore_eos=True,  # `ends` has them all
                detokenize=False,
            )
            for seed in seeds
        ]
        prompts = [{"prompt_token_ids": [int(token) for token in row]} for row in ids]
        found = self._engine.generate(prompts, asked, use_tqdm=False)
        if len(found) != len(prompts):
            raise GenerationError(f"vLLM gave {len(found)} completions for {len(prompts)} prompts")
        return [
            Answer(
                tokens=np.array(one.outputs[0].token_ids, dtype=np.int64),
                stopped=one.outputs[0].finish_reason == "stop",
                entropy=math.nan,
                mass=math.nan,
            )
            for one in found
        ]
