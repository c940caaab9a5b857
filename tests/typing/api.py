"""Never run, only type-checked: a user's own parts, with no base class, fit the Protocols."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rm_monitor import Completion, Generator, PreferenceScorer, Prompt, RewardMonitor, Sampling, Scorer, Sink
from rm_monitor.types import FloatArray, Progress, Scale, Update


class MyScorer:
    """Returns a plain list."""

    fingerprint = "mine-1"
    scale: Scale = "logit"

    def score(self, prompts: Sequence[Prompt], completions: Sequence[Completion]) -> list[float]:
        return [float(len(c.text)) for c in completions]


class MyPreference:
    """Returns an array."""

    fingerprint = "mine-2"

    def prefer(
        self, prompts: Sequence[Prompt], completions: Sequence[Completion], references: Sequence[Completion]
    ) -> FloatArray:
        return np.full(len(prompts), 0.5)


class MyGenerator:
    """Says nothing."""

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
        return [Completion(prompt_id=p.id, text="") for p in prompts]


class MySink:
    """Prints."""

    def show(self, update: Update) -> None:
        print(update.point.step, update.point.metrics["win_prob"].value, update.verdict.state)


scorer: Scorer = MyScorer()
preference: PreferenceScorer = MyPreference()
generator: Generator = MyGenerator()
sink: Sink = MySink()

monitor = RewardMonitor(
    {"main": scorer, "gold": preference},
    ["Hello?"],
    references=["Hello!"],
    every=10,
    output_dir="out",
    generator=generator,
    report_to=[sink, "wandb"],
)
point = monitor.step(10)
if point is not None:
    value: float = point.metrics["win_prob"].value
best_step: int | None = monitor.best.step if monitor.best is not None else None
