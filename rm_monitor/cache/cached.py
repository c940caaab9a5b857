"""Wraps a scorer: what was scored before, on any run, is looked up instead."""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from rm_monitor.types import (
    Cacheable,
    Calibrated,
    Completion,
    Counts,
    Describes,
    FloatArray,
    Identified,
    Noisy,
    Preferences,
    PreferenceScorer,
    Prompt,
    Scale,
    Scores,
    Screened,
    Screens,
)

__all__ = ["CachedPreferences", "CachedScorer", "ScoreCache", "cached"]

log = logging.getLogger("rm_monitor")

_MEASURE = "measure:"
VERIFIED = 0.02  # share of hits that is scored again: notices whatever the key forgot


class ScoreCache(Protocol):
    """Where scores are kept: values by 16-byte key."""

    def get(self, keys: Sequence[bytes]) -> dict[bytes, dict[str, float]]:
        """What is known of these keys."""

    def put(
        self, values: Mapping[bytes, Mapping[str, float]], *, model: Mapping[str, str] | None = None
    ) -> None:
        """Keep these, with the facts of the model that gave them."""

    def drop(self, keys: Sequence[bytes]) -> None:
        """Forget these."""


class _Cached:
    """A scorer that asks the cache first.

    Args:
        scorer: Has ``keys(...)``, of the rows it is asked about: the content address of each answer.
        cache: Where scores are kept.
        tolerance: Largest difference between a kept and a fresh score, as a share of their size; the noise
            the scorer measured of itself is allowed on top.
        seed: Of the choice of hits that are scored again; None: another choice each time.
    """

    headline: str

    def __init__(
        self, scorer: Any, cache: ScoreCache, *, tolerance: float = 1e-3, seed: int | None = None
    ) -> None:
        self.scorer = scorer
        self.cache = cache
        self.hits = self.misses = self.wrong = 0
        self._tolerance = tolerance
        self._rng = np.random.default_rng(seed)
        self._trusted = True
        self._noise: dict[bytes, float] = {}  # by what it was measured of

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

    @property
    def temperature(self) -> float | None:
        """The scorer's."""
        return self.scorer.temperature if isinstance(self.scorer, Calibrated) else None

    @property
    def noise(self) -> float:
        """The scorer's: differences of two rewards up to this are ties. Measured once a fingerprint."""
        key = hashlib.sha256(f"noise:{self.fingerprint}".encode()).digest()[:16]
        if key not in self._noise:
            known = self.cache.get([key]).get(key, {}).get("noise")
            if known is None and isinstance(self.scorer, Noisy):  # to ask whether it is one measures it
                known = float(self.scorer.noise)
                self.cache.put({key: {"noise": known}}, model=self._facts())
            self._noise[key] = known or 0.0
        return self._noise[key]

    def describe(self) -> object:
        """The scorer's, or its name."""
        return self.scorer.describe() if isinstance(self.scorer, Describes) else self.name

    def screen(self, prompts: Sequence[Prompt]) -> Screened:
        """What the scorer says of prompts it cannot score; nothing, if it cannot tell."""
        return self.scorer.screen(prompts) if isinstance(self.scorer, Screens) else Screened({}, {})

    def counts(self) -> dict[str, int]:
        """Scores looked up (``kept``) and asked for (``new``), and what those cost the scorer."""
        inner = self.scorer.counts() if isinstance(self.scorer, Counts) else {}
        return {**inner, "kept": self.hits, "new": self.misses}

    def _look_up(
        self, keys: Sequence[bytes], ask: Callable[[Sequence[int]], Sequence[dict[str, float]]]
    ) -> list[dict[str, float]]:
        """What is known, what ``ask`` says of rows that are not, and a few of the hits asked again."""
        known = self.cache.get(list(dict.fromkeys(keys))) if self._trusted else {}
        hits = [i for i, key in enumerate(keys) if key in known]
        missing = [i for i, key in enumerate(keys) if key not in known]
        again = self._rng.choice(hits, math.ceil(VERIFIED * len(hits)), replace=False).tolist()
        fresh = _answers([*missing, *again], ask)
        if any(self._differ(known[keys[i]][self.headline], fresh[i][self.headline]) for i in again):
            # One kept score is wrong: the key forgot something, and no other can be believed.
            self._trusted = False
            self.cache.drop(list(known))
            fresh |= _answers([i for i in hits if i not in fresh], ask)
            hits, missing = [], list(range(len(keys)))
        asked = set(missing)
        self.hits += len(hits)
        self.misses += len(missing)
        new = {keys[i]: fresh[i] for i in missing if np.isfinite(fresh[i][self.headline])}
        if new:
            self.cache.put(new, model=self._facts())
        # A kept score that holds is given, not its repetition: runs that share a cache agree to the bit.
        return [fresh[i] if i in asked else known[key] for i, key in enumerate(keys)]

    def _differ(self, kept: float, now: float) -> bool:
        allowed = self._tolerance * max(abs(kept), abs(now), 1e-6) + 4 * self.noise
        if np.isfinite(now) and abs(kept - now) <= allowed:
            return False
        self.wrong += 1
        log.warning(
            "rm_monitor: a kept score of %s is %.6g, but scoring again gives %.6g: something changed that "
            "the cache does not know of. Its kept scores are dropped and not used in this run",
            self.name,
            kept,
            now,
        )
        return True

    def _facts(self) -> dict[str, str]:
        told = self.scorer.model_identity if isinstance(self.scorer, Identified) else {}
        return {"name": self.name, **(told or {"fingerprint": self.fingerprint})}


class CachedScorer(_Cached):
    """A pointwise scorer that asks the cache first."""

    headline = "reward"

    def score(self, prompts: Sequence[Prompt], completions: Sequence[Completion]) -> Scores:
        """Look up, score what is missing and a few of the hits, keep what is new."""
        if not completions:
            scored: Scores = self.scorer.score(prompts, completions)
            return scored

        def ask(rows: Sequence[int]) -> list[dict[str, float]]:
            scores: Scores = self.scorer.score([prompts[i] for i in rows], [completions[i] for i in rows])
            return [_values(scores, j) for j in range(len(rows))]

        return _assemble(self._look_up(self.scorer.keys(prompts, completions), ask))


class CachedPreferences(_Cached):
    """A preference model that asks the cache first; a pair's key holds both answers, in their order."""

    headline = "probability"

    def prefer(
        self, prompts: Sequence[Prompt], completions: Sequence[Completion], references: Sequence[Completion]
    ) -> Preferences:
        """Look up, compare what is missing and a few of the hits, keep what is new."""

        def ask(rows: Sequence[int]) -> list[dict[str, float]]:
            columns = ([column[i] for i in rows] for column in (prompts, completions, references))
            said: Preferences = self.scorer.prefer(*columns)
            gap = np.full(len(rows), np.nan) if said.order_gap is None else said.order_gap
            answers = [
                {"probability": float(p), "order_gap": float(g)}
                for p, g in zip(said.probability, gap, strict=True)
            ]
            for name, values in said.measures.items():
                for answer, value in zip(answers, values, strict=True):
                    answer[f"{_MEASURE}{name}"] = float(value)
            return answers

        rows = self._look_up(self.scorer.keys(prompts, completions, references), ask)
        table = np.array([[row["probability"], row["order_gap"]] for row in rows]).reshape(-1, 2)
        names = dict.fromkeys(name for row in rows for name in row if name.startswith(_MEASURE))
        measures = {
            name.removeprefix(_MEASURE): np.array([row.get(name, np.nan) for row in rows]) for name in names
        }
        return Preferences(probability=table[:, 0], order_gap=table[:, 1], measures=measures)


def cached(scorer: Any, cache: ScoreCache) -> Any:
    """The scorer, with the cache before it if it allows that."""
    if not isinstance(scorer, Cacheable) or not scorer.cacheable:
        return scorer
    pairwise = isinstance(scorer, PreferenceScorer)
    return CachedPreferences(scorer, cache) if pairwise else CachedScorer(scorer, cache)


def _answers(
    rows: Sequence[int], ask: Callable[[Sequence[int]], Sequence[dict[str, float]]]
) -> dict[int, dict[str, float]]:
    return dict(zip(rows, ask(rows), strict=True)) if rows else {}


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
