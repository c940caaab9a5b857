"""The judges of a monitor: loaded once, on the process that scores, with the shared score cache."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rm_monitor.evaluation.screening import screen
from rm_monitor.monitor.settings import is_one_judge
from rm_monitor.scorers import load_scorer
from rm_monitor.types import Composed, PreferenceScorer, Prompt, Remembers, Scorer

__all__ = ["load_judges"]


def load_judges(
    given: Mapping[str, Any], prompts: Iterable[Prompt] = ()
) -> dict[str, Scorer | PreferenceScorer]:
    """Load every scorer, and give those that can use it the shared score cache.

    Args:
        given: Name -> what `load_scorer` takes, or a mapping of its options with ``source`` or ``path``.
        prompts: What they are to judge answers to: those that one cannot score are said now.

    Raises:
        ScorerError: If one cannot be loaded, or can score none of the prompts.
    """
    from rm_monitor.cache.cached import cached  # noqa: PLC0415  pulls in scorers only when used
    from rm_monitor.cache.scores import ScoreStore  # noqa: PLC0415

    store = ScoreStore()  # opened when first used

    def with_cache(scorer: Any) -> Any:
        if isinstance(scorer, Remembers):  # servers and judges keep what only they understand
            scorer.remember(store)
        if isinstance(scorer, Composed):
            scorer.each(with_cache)
        return cached(scorer, store)

    scorers = {name: with_cache(_load(source)) for name, source in given.items()}
    screen(scorers, tuple(prompts))
    return scorers


def _load(source: Any) -> Scorer | PreferenceScorer:
    if not is_one_judge(source):
        return load_scorer(source)
    if "source" in source and "path" in source:
        raise ValueError("`reward_model` has both `source` and `path`: they mean the same, give one of them")
    options = {key: value for key, value in source.items() if key not in ("source", "path")}
    return load_scorer(source.get("source", source.get("path")), **options)
