"""Answers from the vLLM that a TRL trainer already runs: ``use_vllm=True``, colocated or a server."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from rm_monitor.errors import GenerationError
from rm_monitor.generators.rows import Row, completion, end_tokens, rows_of
from rm_monitor.types import Completion, Progress, Prompt, Sampling

__all__ = ["TrainerGenerator"]


class TrainerGenerator:
    """Uses the trainer's own ``vllm_generation``: no second engine, no second copy of the weights.

    Weights are pushed to vLLM when the step has changed, and the trainer is told, so that it does not push
    them again. The trainer's sampling settings are put back after each call. vLLM takes one seed a call, so
    an answer depends on ``(seed, sample)`` and its prompt, and on vLLM's batching where its kernels do.

    Written against TRL 1.16's source; its calls are tested with a stand-in, not on a GPU.

    Args:
        trainer: A TRL trainer with ``vllm_generation``.
    """

    def __init__(self, trainer: Any) -> None:
        if getattr(trainer, "vllm_generation", None) is None:
            raise ValueError(
                f"{type(trainer).__name__} runs no vLLM (no `vllm_generation`): set `use_vllm=True` in its "
                f"arguments, or leave `generator` out"
            )
        self.trainer = trainer

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
        """See `rm_monitor.Generator`. With several processes all must call it, also those without prompts."""
        trainer = self.trainer
        model = trainer.model if model is None else model
        tokenizer = trainer.processing_class if tokenizer is None else tokenizer
        one = Sampling(
            temperature=sampling.temperature, top_p=sampling.top_p, max_new_tokens=sampling.max_new_tokens
        )
        rows = rows_of(prompts, one, model, tokenizer)
        ends, pad = end_tokens(model, tokenizer)
        ids = [row.ids for row in rows]
        calls = _most(len(ids), trainer.accelerator)
        if calls == 0:
            return []
        padded = ids + [ids[0] if ids else [pad]] * (calls - len(ids))  # ranks must bring equally many
        if trainer.state.global_step != trainer._last_loaded_step:
            trainer.vllm_generation.sync_weights()
            trainer._last_loaded_step = trainer.state.global_step
        samples: list[list[Completion]] = []
        for sample in range(sampling.samples_per_prompt):
            with _settings(trainer.vllm_generation, sampling, _seed(seed, sample)):
                _, said, _, _ = trainer.vllm_generation.generate(
                    prompts=padded, images=None, num_generations=1
                )
            samples.append(
                [
                    _answer(row, sample, tokens, tokenizer, ends)
                    for row, tokens in zip(rows, said, strict=False)
                ]
            )
            if len(samples[-1]) != len(rows):
                raise GenerationError(f"vLLM gave {len(said)} completions for {len(padded)} prompts")
            if progress is not None:
                progress((sample + 1) * len(rows), sampling.samples_per_prompt * len(rows))
        return [by_sample[i] for i in range(len(rows)) for by_sample in samples]


@contextmanager
def _settings(engine: Any, sampling: Sampling, seed: int) -> Iterator[None]:
    """Our sampling in the trainer's engine, for one call."""
    ours = {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": 0,
        "min_p": None,
        "repetition_penalty": 1.0,
        "max_completion_length": sampling.max_new_tokens,
        "structured_outputs_regex": None,
        "generation_kwargs": {"seed": seed},
    }
    before = {name: getattr(engine, name) for name in ours}
    try:
        for name, value in ours.items():
            setattr(engine, name, value)
        yield
    finally:
        for name, value in before.items():
            setattr(engine, name, value)


def _most(mine: int, accelerator: Any) -> int:
    """The most prompts that any process has."""
    if accelerator.num_processes == 1:
        return mine
    from accelerate.utils import gather_object  # noqa: PLC0415  only with several processes

    return int(max(gather_object([mine])))


def _seed(seed: int, sample: int) -> int:
    return int.from_bytes(hashlib.blake2b(f"{seed}:{sample}".encode(), digest_size=4).digest(), "big")


def _answer(row: Row, sample: int, tokens: Sequence[int], tokenizer: Any, ends: Sequence[int]) -> Completion:
    tokens = [int(token) for token in tokens]
    stop = next((j for j, token in enumerate(tokens) if token in ends), None)
    tokens = tokens if stop is None else tokens[: stop + 1]
    nan = float("nan")
    said = replace(row, sample=sample)
    return completion(said, tokens, tokenizer, stopped=stop is not None, entropy=nan, mass=nan)
