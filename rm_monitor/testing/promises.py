"""The promises every plug-in keeps, to be run on your own class. A broken one says which and how.

A scorer is a function of its rows: no row depends on its neighbours, nothing global moves. A generator is a
function of (weights, prompt, sampling, seed, sample). A sink takes whatever an evaluation can be.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from rm_monitor.curve.rewards import as_scores
from rm_monitor.testing.abilities import broken_abilities
from rm_monitor.testing.updates import AWKWARD, rows_of, updates
from rm_monitor.types import (
    ClosableSink,
    Completion,
    FloatArray,
    Generator,
    Preferences,
    PreferenceScorer,
    Prompt,
    Sampling,
    Scorer,
    Sink,
)

__all__ = [
    "AWKWARD",
    "BrokenPromise",
    "check_generator",
    "check_preference_scorer",
    "check_scorer",
    "check_sink",
]


class BrokenPromise(AssertionError):
    """A plug-in does not keep one of its promises."""


def check_scorer(scorer: Scorer, *, texts: Sequence[str] = AWKWARD, tolerance: float = 1e-4) -> None:
    """One score a row, whatever the text; rows independent of neighbours and order; nothing global moved.

    What it offers beside scores (the optional Protocols of `rm_monitor.types`: a temperature, its noise, keys
    for the score cache ...) is checked too.

    Args:
        scorer: The scorer.
        texts: Completions to try; a text it cannot score must give nan, not an exception.
        tolerance: Largest difference that batching may make, as a share of the largest score.

    Raises:
        BrokenPromise: The first promise that is not kept.
    """
    _say(
        bool(scorer.fingerprint),
        "`fingerprint` is a text that is not empty",
    )
    _say(scorer.fingerprint == scorer.fingerprint, "`fingerprint` is the same each time")
    _say(scorer.scale in ("logit", "rating", "unit", "unknown"), f"`scale` is known, got {scorer.scale!r}")
    prompts, completions = rows_of(texts)

    def score(order: Sequence[int]) -> FloatArray:
        asked, answered = [prompts[i] for i in order], [completions[i] for i in order]
        scored = scorer.score(asked, answered)
        _say(
            asked == [prompts[i] for i in order] and answered == [completions[i] for i in order],
            "the lists that a scorer is given are not changed",
        )
        return as_scores(scored, len(order), scorer=type(scorer).__name__).reward

    everything = list(range(len(texts)))
    with _nothing_global_moves():
        together = score(everything)
    _say(np.isfinite(together).any(), "at least one plain text has a score")
    _equal(score(everything), together, 0.0, "the same rows score the same again")
    shuffled = random.Random(0).sample(everything, len(everything))
    _equal(score(shuffled), together[shuffled], tolerance, "a score does not depend on the order of rows")
    alone = np.concatenate([score([i]) for i in everything])
    _equal(alone, together, tolerance, "a score does not depend on the rows beside it")
    _say(score([]).size == 0, "no rows, no scores")
    for promise in broken_abilities(scorer, prompts, completions):
        _say(False, promise)


def check_preference_scorer(scorer: PreferenceScorer, *, texts: Sequence[str] = AWKWARD) -> None:
    """Probabilities in [0, 1] that add up to one when the sides swap; a text against itself is exactly 0.5.

    Raises:
        BrokenPromise: The first promise that is not kept.
    """
    _say(
        bool(scorer.fingerprint),
        "`fingerprint` is a text that is not empty",
    )
    prompts, completions = rows_of(texts)
    others = [replace(c, text=texts[0]) for c in completions]

    def prefer(a: Sequence[Completion], b: Sequence[Completion]) -> FloatArray:
        said = scorer.prefer(prompts, a, b)
        p = said.probability if isinstance(said, Preferences) else said
        return np.asarray(p, dtype=np.float64)

    with _nothing_global_moves():
        there = prefer(completions, others)
    back, itself = prefer(others, completions), prefer(completions, completions)
    known = np.isfinite(there) & np.isfinite(back)
    _say(there.shape == (len(texts),), f"one probability a pair, got shape {there.shape}")
    _say(((there[known] >= 0) & (there[known] <= 1)).all(), "probabilities lie in [0, 1]")
    _equal((there + back)[known], np.ones(int(known.sum())), 1e-6, "swapping the sides gives 1 - p")
    _say(np.isin(itself[np.isfinite(itself)], 0.5).all(), "a text against itself is exactly 0.5")
    for promise in broken_abilities(scorer, prompts, completions):
        _say(False, promise)


def check_generator(
    generator: Generator,
    *,
    prompts: Sequence[Prompt] | None = None,
    sampling: Sampling | None = None,
    **how: Any,
) -> None:
    """``n * k`` completions in order, the same whatever the order and the neighbours; nothing global moved.

    Args:
        generator: The generator.
        prompts: Prompts it can answer.
        sampling: How; None: four tokens, two samples.
        **how: ``model`` and ``tokenizer``, if it needs them.

    Raises:
        BrokenPromise: The first promise that is not kept.
    """
    asked = list(prompts or rows_of(("one", "two", "three three three", "four"))[0])
    sampling = sampling or Sampling(max_new_tokens=4, samples_per_prompt=2)
    k = sampling.samples_per_prompt

    def answer(some: Sequence[Prompt]) -> list[Completion]:
        return generator.generate(some, sampling, seed=3, **how)

    with _nothing_global_moves():
        answers = answer(asked)
    expected = [(p.id, j) for p in asked for j in range(k)]
    _say(
        [(c.prompt_id, c.sample) for c in answers] == expected,
        "completions come prompt by prompt, sample by sample",
    )
    _say(all(isinstance(c.text, str) for c in answers), "a completion has a text")
    texts = {(c.prompt_id, c.sample): c.text for c in answers}
    for some in (asked, asked[::-1], asked[:1]):
        again = {(c.prompt_id, c.sample): c.text for c in answer(some)}
        kept = {key: texts[key] for key in again}
        _say(again == kept, "a completion does not depend on the prompts beside it or on their order")
    _say(answer([]) == [], "no prompts, no completions")


def check_sink(make: Callable[[], Sink]) -> None:
    """Takes every kind of evaluation: the first, a full one, a failed one, hostile text, another segment.

    Each update has a real folder of a run with a best checkpoint in it. A sink that is silent without
    something of its own, such as an open run of a logger, must be made with it: what does nothing breaks no
    promise.

    Args:
        make: Makes a fresh sink.

    Raises:
        BrokenPromise: If it raises, or its ``close`` does where it has one.
    """
    sink = make()
    with TemporaryDirectory() as folder:
        for run in ("one", "two"):  # a sink may outlive the run it was made in
            for name, update in updates(Path(folder) / run / "_rm_monitor"):
                _show(partial(sink.show, update), f"a sink shows {name}")
            if isinstance(sink, ClosableSink):
                _show(sink.close, "a sink is closed after a run")


def _show(call: Callable[[], None], what: str) -> None:
    try:
        with _nothing_global_moves():
            call()
    except BrokenPromise:
        raise
    except Exception as problem:
        raise BrokenPromise(f"{what}: it raised {type(problem).__name__}: {problem}") from problem


def _say(kept: Any, promise: str) -> None:
    if not kept:
        raise BrokenPromise(f"promise not kept: {promise}")


def _equal(a: FloatArray, b: FloatArray, tolerance: float, promise: str) -> None:
    size = float(np.nanmax(np.abs(b))) if np.isfinite(b).any() else 1.0
    if not np.allclose(a, b, rtol=0.0, atol=tolerance * max(size, 1e-12), equal_nan=True):
        raise BrokenPromise(f"promise not kept: {promise}; largest difference {np.nanmax(np.abs(a - b))}")


@contextmanager
def _nothing_global_moves() -> Iterator[None]:
    """Python's, numpy's and torch's random states are where they were."""
    import torch  # noqa: PLC0415  1.5 s, and only checks need it

    def states() -> tuple[Any, ...]:
        numpy_state = np.random.get_state()  # noqa: NPY002  it is the global one that must not move
        return random.getstate(), str(numpy_state), torch.get_rng_state().tolist()

    before = states()
    yield
    _say(states() == before, "no global random state moves")
