"""A Python function as a scorer."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from rm_monitor.errors import ScorerError
from rm_monitor.scorers.limited import Limited
from rm_monitor.text.whole import healed
from rm_monitor.types import Completion, Prompt, Scale, Scores

__all__ = ["FunctionScorer"]


class FunctionScorer:
    """Scores with ``f(prompts: list[str], completions: list[str])``.

    A third parameter gets the `Prompt` values.

    Args:
        function: Returns one number a completion; one that is not finite is unscored.
        name: For people; None: the function's own.
        scale: What a difference of two scores means: ``"logit"`` only if its sigmoid is a probability.
        temperature: Divides differences of its scores, so that their sigmoid is a probability.
        fingerprint: Names the function's version. Only with one are scores kept across runs: a function can
            change without its name changing.
        time_limit: Seconds a call may take; a longer one is a gap on the curve. It is then called in a thread
            of its own, which goes on: until it has ended, further evaluations are gaps at once. None: no
            limit, and a line each minute.

    Example:
        >>> scorer = FunctionScorer(lambda prompts, completions: [len(c) for c in completions], name="length")
        >>> p = Prompt(id="1", messages=({"role": "user", "content": "?"},))
        >>> scorer.score([p], [Completion(prompt_id="1", text="four")]).reward
        array([4.])
    """

    def __init__(
        self,
        function: Callable[..., Sequence[float]],
        *,
        name: str | None = None,
        scale: Scale = "unknown",
        temperature: float | None = None,
        fingerprint: str | None = None,
        time_limit: float | None = None,
    ) -> None:
        if not callable(function):
            raise TypeError(f"`function` must be callable, got {type(function).__name__}")
        if scale not in ("logit", "rating", "unit", "unknown"):
            raise ValueError(f"`scale` must be 'logit', 'rating', 'unit' or 'unknown', got {scale!r}")
        if temperature is not None and not 0 < temperature < math.inf:
            raise ValueError(
                f"`temperature` divides differences of rewards and must be above 0, got {temperature}"
            )
        if time_limit is not None and not 0 < time_limit < math.inf:
            raise ValueError(f"`time_limit` is in seconds, above 0 and finite, or None, got {time_limit}")
        self.name = str(name or getattr(function, "__name__", type(function).__name__))
        self.scale = scale
        self.temperature = temperature
        self._function = Limited(function, self.name, time_limit)
        self._with_prompts = _takes_three(function)
        self._fingerprint = fingerprint or getattr(function, "fingerprint", None)

    @property
    def fingerprint(self) -> str:
        """Its name and, if it was given, its version."""
        return f"function:{self.name}:{self._fingerprint or 'unversioned'}"

    def describe(self) -> str:
        """One line for people."""
        return f"function {self.name}, scale {self.scale}"

    def score(self, prompts: Sequence[Prompt], completions: Sequence[Completion]) -> Scores:
        """Call the function once.

        Raises:
            ScorerError: If it does not return one number a completion.
            ScorerUnavailable: If it is over its ``time_limit``.
        """
        # Half an emoji, cut off, is text that no tokenizer in the function would take.
        texts = [str(healed(p.text)) for p in prompts], [str(healed(c.text)) for c in completions]
        returned: Any = (
            self._function(*texts, list(prompts)) if self._with_prompts else self._function(*texts)
        )
        try:
            reward = np.asarray(returned, dtype=np.float64)
        except (TypeError, ValueError) as problem:
            raise ScorerError(f"function {self.name} must return numbers: {problem}") from problem
        if reward.shape != (len(completions),):
            raise ScorerError(
                f"function {self.name} must return one number a completion: "
                f"{len(completions)} completions, got an array of shape {reward.shape}"
            )
        return Scores(reward=np.where(np.isfinite(reward), reward, np.nan))


def _takes_three(function: Callable[..., Any]) -> bool:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # built-ins without a signature
        return False
    places = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return len(places) >= 3 and places[2].default is inspect.Parameter.empty
