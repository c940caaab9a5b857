"""Checking what the user gave, before anything is trained.

Everything that can be wrong with the arguments is wrong here, at construction, with a message that
names the argument, the rule, the value and the way out.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from rm_monitor.curve.metrics import HEADLINES
from rm_monitor.prompts import PromptSet, load_prompts
from rm_monitor.prompts.references import resolve_references
from rm_monitor.scorers import load_scorer
from rm_monitor.types import Composed, PreferenceScorer, Prompt, ReferenceSet, Remembers, Scorer

__all__ = ["Inputs", "check", "load_scorers"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """What a run is judged with.

    Attributes:
        prompts: The fixed prompts.
        references: Named reference sets; empty: the initial policy's own answers.
        scorers: Name -> what the user gave for it; loaded where it is needed, on rank 0.
    """

    prompts: PromptSet
    references: tuple[ReferenceSet, ...]
    scorers: Mapping[str, Any]


def check(reward_model: Any, prompts: Any, references: Any, *, metric: str, on_error: str) -> Inputs:
    """Validate and load prompts and references; name the scorers.

    Raises:
        ValueError: If a value breaks a rule.
        TypeError: If a thing is of a kind that cannot be used.
    """
    if metric not in HEADLINES:
        raise ValueError(f"`metric` is the headline metric and must be one of {HEADLINES}, got {metric!r}")
    if on_error not in ("warn", "raise"):
        raise ValueError(f"`on_error` must be 'warn' or 'raise', got {on_error!r}")
    prompt_set = prompts if isinstance(prompts, PromptSet) else load_prompts(prompts)
    scorers = reward_model if isinstance(reward_model, Mapping) else {_name(reward_model): reward_model}
    if not scorers:
        raise ValueError("`reward_model` is an empty mapping: name at least one scorer, the primary first")
    for name in scorers:
        if not isinstance(name, str) or not name or set(name) & set("/@ "):
            raise ValueError(f"a scorer's name must be text without '/', '@' or blanks, got {name!r}")
    return Inputs(prompts=prompt_set, references=resolve_references(references, prompt_set), scorers=scorers)


def load_scorers(
    given: Mapping[str, Any], prompts: Iterable[Prompt] = ()
) -> dict[str, Scorer | PreferenceScorer]:
    """Load every scorer, and give those that can use it the shared score cache.

    Args:
        given: Name -> whatever `load_scorer` takes.
        prompts: What they are to judge answers to: those that one cannot score are said now.

    Raises:
        ScorerError: If one cannot be loaded, or can score none of the prompts.
    """
    from rm_monitor.cache.cached import cached  # noqa: PLC0415  pulls in scorers only when used
    from rm_monitor.cache.scores import ScoreStore  # noqa: PLC0415
    from rm_monitor.evaluation.screening import screen  # noqa: PLC0415

    store = ScoreStore()  # opened when first used

    def with_cache(scorer: Any) -> Any:
        if isinstance(scorer, Remembers):  # servers and judges keep what only they understand
            scorer.remember(store)
        if isinstance(scorer, Composed):
            scorer.each(with_cache)
        return cached(scorer, store)

    scorers = {name: with_cache(load_scorer(source)) for name, source in given.items()}
    screen(scorers, tuple(prompts))
    return scorers


def is_first_process() -> bool:
    """Whether this process is the one that scores (torchrun and accelerate both set RANK)."""
    return int(os.environ.get("RANK", "0")) == 0


def _name(reward_model: Any) -> str:
    """A short name of a reward model for people and for metric prefixes."""
    for attribute in ("name", "name_or_path", "__name__"):
        found = getattr(reward_model, attribute, None)
        if isinstance(found, str) and found:
            reward_model = found
            break
    text = reward_model if isinstance(reward_model, str) else type(reward_model).__name__
    short = text.rstrip("/").rsplit("/", 1)[-1]
    return "".join(c if c.isalnum() or c in "-._" else "-" for c in short) or "reward"
