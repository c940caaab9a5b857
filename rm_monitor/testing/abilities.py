"""What a scorer that offers more than scores promises of it: each optional Protocol of `rm_monitor.types`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from rm_monitor.curve.rewards import as_scores
from rm_monitor.types import (
    Cacheable,
    Calibrated,
    Completion,
    Composed,
    Counts,
    Describes,
    FloatArray,
    Identified,
    Noisy,
    Preferences,
    PreferenceScorer,
    Prompt,
    Scorer,
    ScoresAlone,
    Weighs,
)

__all__ = ["broken_abilities"]

Rows = tuple[Sequence[Prompt], Sequence[Completion]]


def broken_abilities(
    scorer: Scorer | PreferenceScorer, prompts: Sequence[Prompt], completions: Sequence[Completion]
) -> Iterator[str]:
    """The promises that are not kept, of those abilities that the scorer has.

    Args:
        scorer: Any scorer.
        prompts: At least two, one a row.
        completions: Their answers, no two of them equal.
    """
    rows = prompts, completions
    yield from _facts(scorer)
    if isinstance(scorer, Cacheable) and scorer.cacheable:
        yield from _keys(scorer, rows)
    if isinstance(scorer, ScoresAlone) and isinstance(scorer, Scorer):
        yield from _alone(scorer, rows)
    if isinstance(scorer, Counts):
        before = dict(scorer.counts())
        _asked(scorer, rows)
        after = dict(scorer.counts())
        numbers: list[Any] = [*before.values(), *after.values()]
        if not all(isinstance(n, int) and n >= 0 for n in numbers):
            yield f"`counts()` are whole numbers of 0 or more, got {after}"
        elif any(after.get(name, 0) < n for name, n in before.items()):
            yield f"`counts()` never fall, got {before} and then {after}"
    if isinstance(scorer, Composed):
        met: list[Any] = []
        before_it = _asked(scorer, rows)
        scorer.each(_same(met))
        if not met:
            yield "`each(change)` calls `change` with every member"
        if not np.array_equal(_asked(scorer, rows), before_it, equal_nan=True):
            yield "`each(change)` with a `change` that changes nothing changes nothing"


def _facts(scorer: Any) -> Iterator[str]:
    if isinstance(scorer, Calibrated):
        told = scorer.temperature
        if told is not None and not (np.isfinite(told) and told > 0):
            yield f"`temperature` is None or above 0, got {told}"
    if isinstance(scorer, Noisy) and not (np.isfinite(scorer.noise) and scorer.noise >= 0):
        yield f"`noise` is a number of 0 or more, got {scorer.noise}"
    if isinstance(scorer, Describes) and not str(scorer.describe()).strip():
        yield "`describe()` is a page for people that is not empty"
    if isinstance(scorer, Identified):
        facts: dict[Any, Any] = dict(scorer.model_identity)
        if not all(isinstance(k, str) and isinstance(v, str) for k, v in facts.items()):
            yield f"`model_identity` maps text to text, got {facts}"
    size: Any = scorer.memory if isinstance(scorer, Weighs) else 0
    if not isinstance(size, int) or size < 0:
        yield f"`memory` is bytes, got {size}"


def _keys(scorer: Cacheable, rows: Rows) -> Iterator[str]:
    prompts, completions = rows
    columns = [completions] if isinstance(scorer, Scorer) else [completions, completions[::-1]]
    if len(columns) == 2:
        prompts = [prompts[0]] * len(completions)
        columns = [[_of(prompts[0], c) for c in column] for column in columns]
    keys: list[Any] = list(scorer.keys(prompts, *columns))
    if len(keys) != len(completions) or not all(isinstance(k, bytes) and len(k) == 16 for k in keys):
        yield "`keys(...)` are 16 bytes a row"
    elif scorer.keys(prompts, *columns) != keys:
        yield "`keys(...)` of equal rows are equal"
    elif scorer.keys(prompts[:1], *[column[:1] for column in columns]) != keys[:1]:
        yield "a key does not depend on the rows beside it"
    elif keys[0] == keys[1]:
        yield "`keys(...)` of different answers are different"


def _alone(scorer: ScoresAlone, rows: Rows) -> Iterator[str]:
    assert isinstance(scorer, Scorer)
    alone = as_scores(scorer.score_alone(*rows), len(rows[1]), scorer="`score_alone`").reward
    together = _asked(scorer, rows)
    room = max(scorer.noise if isinstance(scorer, Noisy) else 0.0, 1e-4 * _size(together))
    if not np.allclose(alone, together, rtol=0.0, atol=10 * room, equal_nan=True):
        yield f"`score_alone` says what `score` says, up to noise; largest difference {_gap(alone, together)}"


def _asked(scorer: Scorer | PreferenceScorer, rows: Rows) -> FloatArray:
    """``(n,)``: its rewards, or its probabilities against the first answer."""
    prompts, completions = rows
    if isinstance(scorer, PreferenceScorer):
        fixed = [_of(prompt, completions[0]) for prompt in prompts]
        said = scorer.prefer(prompts, completions, fixed)
        return np.asarray(said.probability if isinstance(said, Preferences) else said, dtype=np.float64)
    return as_scores(scorer.score(prompts, completions), len(completions), scorer="`score`").reward


def _same(met: list[Any]) -> Callable[[Any], Any]:
    def change(member: Any) -> Any:
        met.append(member)
        return member

    return change


def _of(prompt: Prompt, completion: Completion) -> Completion:
    return Completion(prompt_id=prompt.id, text=completion.text)


def _size(values: FloatArray) -> float:
    return float(np.nanmax(np.abs(values))) if np.isfinite(values).any() else 1.0


def _gap(a: FloatArray, b: FloatArray) -> float:
    return float(np.nanmax(np.abs(a - b), initial=0.0))
