"""A Python function as a scorer."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rm_monitor.errors import ScorerError
from rm_monitor.scorers.limited import Limited
from rm_monitor.text.whole import healed
from rm_monitor.types import Completion, Prompt, Scale, Scores

__all__ = ["FunctionScorer"]


class FunctionScorer:
    """Scores with ``f(prompts: list[str], completions: list[str])``, called once an evaluation.

    A parameter that is called ``completions`` is given by its name, as TRL gives it, and then ``prompts``
    too, if it is taken; otherwise the two lists come in this order. A parameter ``rows`` gets the `Prompt`
    values.

    Args:
        function: Returns one number a completion, as a list, an array or a tensor on any device; None and
            what is not finite is unscored.
        name: For people; None: the function's own.
        scale: What a difference of two scores means: ``"logit"`` only if its sigmoid is a probability.
        temperature: Divides differences of its scores, so that their sigmoid is a probability.
        fingerprint: Names the function's version. Only with one are scores kept across runs: a function can
            change without its name changing.
        time_limit: Seconds a call may take; a longer one is a gap on the curve. It is then called in a thread
            of its own, which goes on: until it has ended, further evaluations are gaps at once. None: no
            limit, and a line each minute.

    Raises:
        TypeError: If it cannot be called, cannot be called with two lists of texts, or has to be awaited.
        ValueError: If ``scale`` or ``temperature`` breaks its rule.

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
        self._call = Limited(_called(function, self.name), self.name, time_limit)
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
        returned = self._call(texts[0], texts[1], prompts)
        try:
            reward = np.asarray(_plain(returned), dtype=np.float64)
        except (TypeError, ValueError) as problem:
            raise ScorerError(f"function {self.name} must return numbers: {problem}") from problem
        if reward.shape != (len(completions),):
            raise ScorerError(
                f"function {self.name} must return one number a completion: "
                f"{len(completions)} completions, got an array of shape {reward.shape}"
            )
        return Scores(reward=np.where(np.isfinite(reward), reward, np.nan))


@dataclass(frozen=True, slots=True)
class _Called:
    """The function, and how it takes its lists.

    Attributes:
        function: What the user gave.
        names: Of the lists that it is given by name.
        in_order: It is given prompts and completions in this order, not by name.
    """

    function: Callable[..., Any]
    names: tuple[str, ...] = ()
    in_order: bool = True

    def __call__(self, prompts: list[str], completions: list[str], rows: Sequence[Prompt]) -> Any:
        known = {"prompts": prompts, "completions": completions, "rows": list(rows)}
        by_name = {name: known[name] for name in self.names}
        return self.function(*((prompts, completions) if self.in_order else ()), **by_name)


def _called(function: Callable[..., Any], name: str) -> _Called:
    """How the function takes prompts and completions; what it cannot be given is refused before training."""
    if inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__):
        raise TypeError(
            f"the reward function {name} has to be awaited, and is called: give a plain function, such as "
            f"lambda prompts, completions: asyncio.run({name}(prompts, completions))"
        )
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # built-ins without a signature
        return _Called(function)
    parameters = signature.parameters.values()
    takes = {p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    in_order = "completions" not in takes
    names = takes & ({"rows"} if in_order else {"prompts", "completions", "rows"})
    if not in_order and any(p.kind is p.VAR_KEYWORD for p in parameters):
        names.add("prompts")
    call = _Called(function, tuple(sorted(names)), in_order)
    try:
        signature.bind(*(([], []) if in_order else ()), **dict.fromkeys(call.names))
    except TypeError as problem:
        raise TypeError(
            f"the reward function {name}{signature} is called with two lists of texts, {name}(prompts, "
            f"completions), and returns one number a completion ({problem}). Give a function of these two; a "
            "parameter called `rows` gets the Prompt values"
        ) from problem
    return call


def _plain(returned: Any) -> Any:
    """Numbers without their framework: numpy reads no tensor on a device, in bfloat16, or with a gradient."""
    if hasattr(returned, "detach"):
        return returned.detach().tolist()
    if isinstance(returned, (list, tuple)):
        return [_plain(x) for x in returned]
    return returned
