"""What one evaluation gives: a table of values, and a point on the curve."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, TypeAlias

from rm_monitor.types.arrays import FloatArray
from rm_monitor.types.texts import Completion

__all__ = ["Estimate", "EvalPoint", "Status", "Table"]

Status: TypeAlias = Literal["ok", "partial", "failed", "skipped", "pending"]


class Estimate(NamedTuple):
    """A mean over prompts with its interval.

    Attributes:
        value: The mean; nan when nothing was scored.
        low: Lower end of the 95 % interval; nan when unknown.
        high: Upper end.
        n: Prompts behind it, unscored ones left out.

    Example:
        >>> print(Estimate(0.5, 0.0945, 0.905, 20))
        0.5 (0.0945 to 0.905, 20 prompts)
    """

    value: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        if not math.isfinite(self.value):
            return f"unknown ({_prompts(self.n)})"
        ends = f"{self.low:.3g} to {self.high:.3g}" if math.isfinite(self.low) else "interval unknown"
        return f"{self.value:.3g} ({ends}, {_prompts(self.n)})"


def _prompts(n: int) -> str:
    return "1 prompt" if n == 1 else f"{n} prompts"


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """All that was measured at one evaluation: row i is prompt i, column j its sample j.

    Attributes:
        prompt_ids: ``n`` ids, in prompt order.
        completions: ``n`` tuples of ``k`` completions.
        values: Metric name -> ``(n, k)``; nan where unknown.
    """

    prompt_ids: tuple[str, ...]
    completions: tuple[tuple[Completion, ...], ...]
    values: Mapping[str, FloatArray]


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalPoint:
    """One step's numbers: a point on the curve.

    Attributes:
        step: Optimizer step.
        metrics: Name -> `Estimate`. Tags are suffixes (``win_prob@coding``); further scorers and
            reference sets as in the design (``gold/win_prob``, ``win_prob/sft``).
        status: ``ok``; ``partial`` (under 95 % of the prompts were scored: shown, never best, never an
            alarm); ``failed`` or ``skipped`` (no numbers: a gap in the curve); ``pending``
            (being judged in a second process; never on the curve).
        reason: Why the status is not ``ok``.
        checkpoint: Directory on disk that holds these weights; None if there is none (any more).
        segment: Points with the same segment may be compared: same prompts, references, reward model
            and sampling.
        values: Metric name -> ``(n,)``, per-prompt means over samples, in prompt order: what each metric
            is the mean of, kept so that two points can be compared prompt by prompt.
        prompt_ids: ``n`` ids, in the order of ``values``.
        measured: Plain measurements of this evaluation: ``seconds``, ``seconds_generate``,
            ``seconds_score``, ``tokens_per_second``, ``cache_hits`` ...
        attempt: 0-based number of the process that wrote it; a resumed run has a higher one.
        weights: Names the weights that answered (`rm_monitor.training.digest`): points of a segment with the
            same name hold the same numbers; empty: unknown.
    """

    step: int
    metrics: Mapping[str, Estimate] = field(default_factory=dict)
    status: Status = "ok"
    reason: str = ""
    checkpoint: str | None = None
    segment: str = ""
    values: Mapping[str, FloatArray] = field(default_factory=dict, repr=False, compare=False)
    prompt_ids: tuple[str, ...] = field(default=(), repr=False, compare=False)
    measured: Mapping[str, float] = field(default_factory=dict, compare=False)
    attempt: int = 0
    weights: str = field(default="", repr=False, compare=False)
