"""Settings that are values of their own: frozen, and validated when they are built."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from rm_monitor.types.checks import number, whole

__all__ = ["Alarm", "Sampling", "Tolerance"]

Tolerance: TypeAlias = float | Literal["jitter"]  # a share, or what the run itself shows


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How completions are drawn. All of it is recorded, and a change starts a new segment.

    Attributes:
        temperature: 0 is greedy; else logits are divided by it.
        top_p: Nucleus: the smallest set of tokens with at least this probability, in (0, 1].
        max_new_tokens: Longest completion, in the policy's tokens.
        samples_per_prompt: Completions drawn for each prompt; averaged inside the prompt.

    Raises:
        ValueError: If a value is out of range.
    """

    temperature: float = 0.7
    top_p: float = 0.95
    max_new_tokens: int = 256
    samples_per_prompt: int = 1

    def __post_init__(self) -> None:
        number("temperature", self.temperature, "0 (greedy) or more", at_least=0)
        number("top_p", self.top_p, "a probability in (0, 1]", above=0, at_most=1)
        whole("max_new_tokens", self.max_new_tokens, "a number of tokens, at least 1", at_least=1)
        whole("samples_per_prompt", self.samples_per_prompt, "a number of answers, at least 1", at_least=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """By what a curve is judged, and what settles a warning.

    Attributes:
        tolerance: ``"jitter"``: what checkpoints of this run differ by from one to the next, for no lasting
            reason, counts as chance. A share of the pool score: a fall up to this is healthy; 0: every true
            fall counts, however short.
        min_drop: Smallest fall that is ever called degraded, as a share; 0.02 is 2 points.
        horizon: Evaluations the run will have; None: from the Trainer, or unknown.
        confirm_on_warn: Held-out prompts, as ``prompts`` takes them, best as many: a warning is settled on
            them, with a fall that is not exaggerated. They are answered at each new best and at the first two
            warnings of a run. None: warnings wait for the next evaluation.
        training_reward: What training optimises, where the trainer's logs do not tell: a hub id, a folder, a
            loaded model, a function, a fingerprint, or a list of these. If it is the monitor's own reward
            model you are warned: such a curve need not turn when quality does.
        false_alarms: Probability that a healthy run raises the alarm once, in (0, 0.2).

    Raises:
        ValueError: If a value is out of range.
    """

    tolerance: Tolerance = "jitter"
    min_drop: float = 0.02
    horizon: int | None = None
    confirm_on_warn: Any = field(default=None, compare=False)
    training_reward: Any = field(default=None, compare=False)
    false_alarms: float = 0.05

    def __post_init__(self) -> None:
        if self.tolerance != "jitter":
            rule = 'a share in [0, 1), such as 0.02 for 2 points, or "jitter"'
            number("tolerance", self.tolerance, rule, at_least=0, below=1)
        number("min_drop", self.min_drop, "a share in [0, 1), such as 0.02 for 2 points", at_least=0, below=1)
        if self.horizon is not None:
            rule = "a number of evaluations, at least 1 (None: unknown)"
            whole("horizon", self.horizon, rule, at_least=1)
        rule = "a probability above 0 and below 0.2, the rate of warnings"
        number("false_alarms", self.false_alarms, rule, above=0, below=0.2)
