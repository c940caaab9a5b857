"""Wraps a pointwise scorer: what was scored before, on any run, is looked up instead."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from rm_monitor.types import Completion, FloatArray, Prompt, Scale, Scores

__all__ = ["CachedScorer", "ScoreCache"]

log = logging.getLogger("rm_monitor")

VERIFIED = 0.02  # share of hits that is scored again: notices whatever the key forgot


class ScoreCache(Protocol):
    """Where scores are kept: values by 16-byte key."""

    def get(self, keys: Sequence[bytes]) -> dict[bytes, dict[str, float]]:
        """What is known of these keys."""

    def put(self, values: Mapping[bytes, Mapping[str, float]]) -> None:
        """Keep these."""

    def drop(self, keys: Sequence[bytes]) -> None:
        """Forget these."""


class CachedScorer:
    """A scorer that asks the cache first.

    Args:
        scorer: Has ``keys(prompts, completions)``: the content address of each score.
        cache: Where scores are kept.
        tolerance: Largest difference between a kept and a fresh score, as a share of the largest score.
        seed: Of the choice of hits that are scored again.
    """

    def __init__(self, scorer: Any, cache: ScoreCache, *, tolerance: float = 1e-3, seed: int = 0) -> None:
        self.scorer = scorer
        self.cache = cache
        self.hits = self.misses = 0
        self._tolerance = tolerance
        self._rng = np.random.default_rng(seed)

    @property
    def name(self) -> str:
        """The scorer's."""
        return str(getattr(self.scorer, "name", type(self.scorer).__name__))

    @property
    def fingerprint(self) -> str:
        """The scorer's: a kept score is the score."""
        return str(self.scorer.fingerprint)

    @property
    def scale(self) -> Scale:
        """The scorer's."""
        scale: Scale = self.scorer.scale
        return scale

    def describe(self) -> str:
        """The scorer's."""
        return str(self.scorer.describe())

    def score(self, prompts: Sequence[Prompt], completions: Sequence[Completion]) -> Scores:
        """Look up, score what is missing and a few of the hits, keep what is new."""
        if not completions:
            scored: Scores = self.scorer.score(prompts, completions)
            return scored
        keys: list[bytes] = self.scorer.keys(prompts, completions)
        known = self.cache.get(list(dict.fromkeys(keys)))
        missing = [i for i, key in enumerate(keys) if key not in known]
        again = [i for i, key in enumerate(keys) if key in known and self._rng.random() < VERIFIED]
        self.hits += len(keys) - len(missing)
        self.misses += len(missing)
        fresh: dict[int, dict[str, float]] = {}
        if missing or again:
            rows = [*missing, *again]
            scores: Scores = self.scorer.score([prompts[i] for i in rows], [completions[i] for i in rows])
            fresh = {i: _values(scores, j) for j, i in enumerate(rows)}
        wrong = self._verify({i: fresh[i] for i in again}, keys, known)
        new = {keys[i]: fresh[i] for i in missing if np.isfinite(fresh[i]["reward"])}
        if new:
            self.cache.put(new)
        # a kept score that holds is given, not its repetition: runs that share a cache agree to the bit
        asked = {i: fresh[i] for i in [*missing, *wrong]}
        return _assemble([asked.get(i) or known[key] for i, key in enumerate(keys)])

    def _verify(
        self,
        again: Mapping[int, Mapping[str, float]],
        keys: Sequence[bytes],
        known: dict[bytes, dict[str, float]],
    ) -> list[int]:
        """Drop kept scores that do not hold; the rows they belong to."""
        wrong = []
        for i, values in again.items():
            kept, now = known[keys[i]]["reward"], values["reward"]
            size = max(abs(kept), abs(now), 1e-6)
            if not np.isfinite(now) or abs(kept - now) > self._tolerance * size:
                log.warning(
                    "rm_monitor: a kept score of %s is %.6g but scoring again gives %.6g; the kept one "
                    "is dropped. "
                    "If this repeats, clear the cache: rm-monitor cache prune --all",
                    self.name,
                    kept,
                    now,
                )
                self.cache.drop([keys[i]])
                wrong.append(i)
        return wrong


def _values(scores: Scores, row: int) -> dict[str, float]:
    values = {"reward": float(scores.reward[row])}
    values |= {f"attribute:{name}": float(x[row]) for name, x in scores.attributes.items()}
    return values | {f"flag:{name}": float(x[row]) for name, x in scores.flags.items()}


def _assemble(rows: Sequence[Mapping[str, float]]) -> Scores:
    def column(name: str, missing: float) -> FloatArray:
        return np.array([row.get(name, missing) for row in rows], dtype=np.float64)

    names = list(dict.fromkeys(name for row in rows for name in row))
    return Scores(
        reward=column("reward", np.nan),
        attributes={
            n.removeprefix("attribute:"): column(n, np.nan) for n in names if n.startswith("attribute:")
        },
        flags={n.removeprefix("flag:"): column(n, 0.0) > 0 for n in names if n.startswith("flag:")},
    )
