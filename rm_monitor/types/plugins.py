"""What a user may plug in: every Protocol, and what is handed to one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from rm_monitor.types.arrays import FloatArray
from rm_monitor.types.points import EvalPoint, Table
from rm_monitor.types.scores import Preferences, Scale, Scores
from rm_monitor.types.settings import Sampling
from rm_monitor.types.texts import Completion, Prompt, ReferenceSet
from rm_monitor.types.verdicts import Best, Signal, Verdict

__all__ = ["ClosableSink", "Generator", "PreferenceScorer", "Progress", "Scorer", "Sink", "Update"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """What a sink is shown after an evaluation.

    Attributes:
        point: The new point.
        verdict: What the curve says now.
        best: The best checkpoint; None if there is none yet.
        curve: Every point so far, in order of step, the new one included.
        metric: Name of the headline metric.
        changed: The verdict's state differs from the one before.
        news: Signals that were not there before.
        prompts: The prompts, in order.
        table: Completions and values of the new point; None when it failed.
        references: The first reference set; None for a pure reward curve.
        reference_rewards: ``(n,)`` rewards of those references; nan where unknown.
        output_dir: Where our files lie.
        name: Of the monitor, where a trainer has several: a part of every key that is logged.
        run: Facts about the run for people: ``prompts``, ``references``, ``reward_model``, ``every``.
    """

    point: EvalPoint
    verdict: Verdict
    best: Best | None
    curve: tuple[EvalPoint, ...]
    metric: str
    changed: bool = False
    news: tuple[Signal, ...] = ()
    prompts: tuple[Prompt, ...] = ()
    table: Table | None = None
    references: ReferenceSet | None = None
    reference_rewards: FloatArray | None = None
    output_dir: str = ""
    run: Mapping[str, str] = field(default_factory=dict)
    name: str = ""


class Progress(Protocol):
    """Told how far a long piece of work is."""

    def __call__(self, done: int, total: int) -> None:
        """``done`` of ``total`` pieces are finished."""


@runtime_checkable
class Scorer(Protocol):
    """A pointwise reward model: one score a completion."""

    @property
    def fingerprint(self) -> str:
        """Everything a score depends on: weights, template, dtype, longest input, versions."""

    @property
    def scale(self) -> Scale:
        """What a difference of two scores means; only ``logit`` differences have a probability."""

    def score(
        self, prompts: Sequence[Prompt], completions: Sequence[Completion]
    ) -> Scores | FloatArray | Sequence[float]:
        """Score row by row; a row that cannot be scored is nan.

        Args:
            prompts: ``n`` prompts.
            completions: ``n`` completions; row i answers prompt i.
        """


@runtime_checkable
class PreferenceScorer(Protocol):
    """A pairwise preference model: the probability that the completion beats the reference."""

    @property
    def fingerprint(self) -> str:
        """Everything an answer depends on."""

    def prefer(
        self, prompts: Sequence[Prompt], completions: Sequence[Completion], references: Sequence[Completion]
    ) -> Preferences | FloatArray | Sequence[float]:
        """Compare row by row; a row that cannot be compared is nan. All three have ``n`` rows."""


@runtime_checkable
class Generator(Protocol):
    """A way of answering prompts with the checkpoint as it stands."""

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
        """Answer every prompt ``sampling.samples_per_prompt`` times.

        A completion depends on the weights, its prompt, ``sampling`` and ``(seed, prompt id, sample)``, not
        on its neighbours, on batch sizes or on any global random state.

        Returns:
            ``n * k`` completions, prompt by prompt: prompt 0 sample 0, prompt 0 sample 1, ...
        """


@runtime_checkable
class Sink(Protocol):
    """A place where evaluations are shown."""

    def show(self, update: Update) -> None:
        """Show one evaluation. Whatever it raises is reported and never stops training."""


@runtime_checkable
class ClosableSink(Protocol):
    """A sink that holds something back: it is told when the run ends."""

    def show(self, update: Update) -> None:
        """As of every `Sink`."""

    def close(self) -> None:
        """Send what was held back. It may be called more than once, and evaluations may follow."""
