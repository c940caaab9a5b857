"""Kinds of runs: what the truth is, how it is measured, and what may go wrong with the scores."""

from __future__ import annotations

from dataclasses import dataclass, fields
from zlib import crc32

import numpy as np

from benchmarks import simulation
from benchmarks.simulation import Array


@dataclass(frozen=True, kw_only=True)
class Case:
    """A kind of run.

    Attributes:
        name: Names it in the tables, and seeds it.
        rates: ``(t,)`` true win rate of each checkpoint.
        n: Prompts.
        peak: Last checkpoint before the truth falls.
        samples: Answers a prompt, averaged.
        outliers: Share of rewards replaced by a gross error.
        missing: Share of rewards that are unknown, the worst ones three times as often.
        ties: Share of answers that are the reference itself.
        jitter: Standard deviation of true win rates around `rates`, from run to run.
        outcomes: Only who won is known: a pairwise judge.
        horizon: Whether the number of evaluations is known beforehand.
    """

    name: str
    rates: Array
    n: int
    peak: int = simulation.PEAK
    samples: int = 1
    outliers: float = 0.0
    missing: float = 0.0
    ties: float = 0.0
    jitter: float = 0.0
    outcomes: bool = False
    horizon: bool = True

    @property
    def evaluations(self) -> int | None:
        """What the detector is told."""
        return len(self.rates) if self.horizon else None

    @property
    def key(self) -> str:
        """Tells it from every other case, in words."""
        told = (f for f in fields(self) if f.name not in ("rates", "horizon"))
        given = [f"{f.name} {getattr(self, f.name)}" for f in told if getattr(self, f.name) != f.default]
        return ", ".join([f"truth {crc32(self.rates.tobytes()):08x}", f"t {len(self.rates)}", *given])

    def run(self, run: int) -> Array:
        """``(t, n)`` scores of one run, its truth drawn too."""
        rng = self.rng(run)
        return self.scores(self.truth(rng), rng)

    def rng(self, run: int) -> np.random.Generator:
        """The same for the same run of the same case."""
        return np.random.default_rng([crc32(self.name.encode()), self.n, run])

    def truth(self, rng: np.random.Generator) -> Array:
        """``(t,)`` true win rates of one run."""
        return simulation.jittered(self.rates, rng, self.jitter) if self.jitter else self.rates

    def scores(self, rates: Array, rng: np.random.Generator, n: int | None = None) -> Array:
        """``(t, n)`` rewards minus the reference's, or outcomes, on prompts drawn anew."""
        n = self.n if n is None else n
        made = simulation.rewards(rates, n, rng, samples=self.samples, outliers=self.outliers)
        if self.ties:
            made = np.where(rng.uniform(size=made.shape) < self.ties, 0.0, made)
        if self.missing:
            chance = np.where(made < np.median(made), 1.5, 0.5) * self.missing
            made = np.where(rng.uniform(size=made.shape) < chance, np.nan, made)
        if self.outcomes:
            made = np.where(np.isnan(made), np.nan, np.where(made == 0, 0.5, made > 0))
        return made
