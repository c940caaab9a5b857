"""The bands of single points: how often each holds its own truth, where it is easy and at its edges."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from zlib import crc32

import numpy as np
from scipy.special import expit

from benchmarks import measure, simulation
from benchmarks.cases import Case
from benchmarks.jitter import flat
from benchmarks.kept import Kept
from benchmarks.rows import Row, share
from benchmarks.simulation import Array
from rm_monitor import stats
from rm_monitor.types import Estimate

MANY = 10  # bands are cheap: so many times the runs of the other tables


def coverage(runs: int, kept: Kept) -> Iterator[Row]:
    """Bands that hold their own point's truth."""
    for rate in (0.55, 0.90):
        for n in (64, 256):
            case = replace(flat(n, 0.0), name=f"bands {rate}", rates=simulation.flat(rate))
            for probability, name in ((True, "win probability"), (False, "win rate")):

                def bands(c: Case = case, p: bool = probability) -> list[list[bool]]:
                    return [measure.covered(c, r, probability=p) for r in range(runs)]

                hits = np.array(kept(f"bands: {case.key}, {name}, {runs}", bands))
                what = f"95 % band, {name}, {rate:.0%} won, n = {n}"
                row = share(what, hits.ravel(), least=0.94, most=0.965)
                yield replace(row, error=float(hits.mean(axis=1).std(ddof=1) / np.sqrt(runs)))
                if probability and rate == 0.55:
                    yield share(f"the whole curve inside it, n = {n}", hits.all(axis=1))


def clusters(runs: int, kept: Kept) -> Iterator[Row]:
    """Bands of a win rate with few clusters of prompts: 5 of 20, 10 of 10, 20 of 5."""
    for count, each in ((5, 20), (10, 10), (20, 5)):
        group = np.repeat(np.arange(count), each)
        for spread in (0.5, 1.0):
            for level in (0.0, 1.0):

                def draw(
                    rng: np.random.Generator, g: Array = group, s: float = spread, x: float = level
                ) -> Array:
                    return x + s * rng.normal(size=int(g.max()) + 1)[g] + rng.logistic(size=g.size)

                what = f"{count} clusters that differ by {spread:g}, {_wins(level, spread):.0%} won"
                yield _holds(
                    what,
                    draw,
                    lambda x, g=group: stats.win_rate(x, clusters=g),  # type: ignore[misc]
                    _wins(level, spread),
                    MANY * runs,
                    kept,
                    ends=(0.94, 0.96),
                )


def edges(runs: int, kept: Kept) -> Iterator[Row]:
    """Bands at their edges: win probabilities near 1, rewards with heavy tails, few prompts."""
    for rate in (0.81, 0.979, 0.998):
        for n in (16, 32, 64, 256):

            def answers(rng: np.random.Generator, r: float = rate, m: int = n) -> Array:
                return simulation.rewards(np.array([r]), m, rng)[0]

            truth = float(simulation.win_probabilities(np.array([rate]))[0])
            what = f"win probability {truth:.3f}, n = {n}"
            yield _holds(what, answers, stats.win_prob, truth, MANY * runs, kept)
    for level in (0.0, 1.5):
        for n in (16, 32, 64, 256):

            def heavy(rng: np.random.Generator, x: float = level, m: int = n) -> Array:
                spread = np.exp(0.8 * rng.normal(size=m))
                return spread * (
                    x + 1.6 / np.sqrt(3.0) * rng.standard_t(3, size=m) + 1.2 * rng.normal(size=m)
                )

            what = f"mean reward, heavy tails, {level:g} from the middle, n = {n}"
            yield _holds(what, heavy, stats.mean, level * float(np.exp(0.32)), MANY * runs, kept)


def _holds(
    what: str,
    draw: Callable[[np.random.Generator], Array],
    band: Callable[[Array], Estimate],
    truth: float,
    times: int,
    kept: Kept,
    ends: tuple[float, float] = (-np.inf, np.inf),
) -> Row:
    rng = np.random.default_rng(crc32(what.encode()))

    def measured() -> list[bool]:
        bands = [band(draw(rng)) for _ in range(times)]
        return [bool(b.low <= truth <= b.high) for b in bands]

    return share(what, kept(f"holds: {what}, {times}", measured), least=ends[0], most=ends[1])


def _wins(level: float, spread: float) -> float:
    """True share of wins of a logistic score whose clusters are normal."""
    node, weight = np.polynomial.hermite_e.hermegauss(41)
    return float(weight @ expit(level + spread * node) / weight.sum())
