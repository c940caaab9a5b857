"""The alarm where checkpoints go up and down for no lasting reason: what a practitioner will meet.

Tables of `benchmarks.statistics`: how often healthy runs are called degraded, over sizes of jitter, prompts,
evaluations and what is known of the run's length; and how often a fall is seen all the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from benchmarks import simulation
from benchmarks.cases import Case
from benchmarks.kept import Kept
from benchmarks.rows import Row, average, mean_of, share
from benchmarks.simulation import Array
from benchmarks.watching import HORIZONS, alarms, own_alarms

JITTERS = (0.0, 0.005, 0.010, 0.015)  # sd of the true win rate between checkpoints
PROMPTS = (64, 128, 256, 512)


@dataclass(frozen=True, kw_only=True)
class Wander(Case):
    """A healthy run whose truth does more than jitter.

    Attributes:
        phi: How much of its jitter a checkpoint keeps from the one before.
        drift: Standard deviation of the steps of a plateau that wanders.
    """

    phi: float = 0.0
    drift: float = 0.0

    def truth(self, rng: np.random.Generator) -> Array:
        """``(t,)`` true win rates of one run."""
        t = len(self.rates)
        new = self.jitter * rng.normal(size=t)
        kept = np.zeros(t)
        for s in range(t):
            kept[s] = self.phi * kept[s - 1] + np.sqrt(1 - self.phi**2) * new[s] if s else new[s]
        return np.clip(self.rates + kept + np.cumsum(self.drift * rng.normal(size=t)), 0.01, 0.99)


def flat(n: int, jitter: float, t: int = simulation.EVALUATIONS) -> Case:
    """A healthy run."""
    return Case(name=f"jitter, n = {n}", rates=simulation.flat(t=t), n=n, jitter=jitter)


def _healthy(runs: int, kept: Kept, lengths: Sequence[int]) -> Iterator[Row]:
    rows = []
    for n in PROMPTS:
        for jitter in JITTERS:
            for t in lengths:
                seen = alarms(flat(n, jitter, t), runs, kept)
                for h in HORIZONS:
                    what = f"{t} evaluations, {h}, n = {n}, jitter {100 * jitter:g}"
                    rows.append(share(what, [bool(run[h]) for run in seen], most=0.08))
                    yield rows[-1]
    for h in HORIZONS:
        yield mean_of(f"mean, {h}", [r for r in rows if f" {h}," in r.what], most=0.05)


def under_jitter(runs: int, kept: Kept) -> Iterator[Row]:
    """Healthy runs of 20 evaluations that are called degraded, by the size of their jitter in points."""
    yield from _healthy(runs, kept, (20,))


def short(runs: int, kept: Kept) -> Iterator[Row]:
    """The same in runs of 3 evaluations."""
    yield from _healthy(runs, kept, (3,))


def long(runs: int, kept: Kept) -> Iterator[Row]:
    """The same in runs of 100 evaluations."""
    yield from _healthy(runs, kept, (100,))


def lent(runs: int, kept: Kept) -> Iterator[Row]:
    """Whether it matters that other runs lend what chance shows: the same runs by the detector alone."""
    for n, jitter in ((64, 0.0), (128, 0.015), (256, 0.015)):
        case = flat(n, jitter)
        some = max(runs // 2, 2)
        own, other = own_alarms(case, some, kept), alarms(case, some, kept)
        what = f"n = {n}, jitter {100 * jitter:g}"
        yield share(f"{what}: the detector alone", [bool(run["known"]) for run in own])
        yield share(f"{what}: lent", [bool(run["known"]) for run in other])
        same = [bool(a["known"]) == bool(b["known"]) for a, b in zip(own, other, strict=True)]
        yield share(f"{what}: runs of which both say the same", same)


def beyond_jitter(runs: int, kept: Kept) -> Iterator[Row]:
    """Healthy runs that wander more than the alarm allows for."""
    for n in (128, 256, 512):
        large = flat(n, 0.025)
        stays = Wander(name="kept", rates=simulation.flat(), n=n, jitter=0.015, phi=0.5)
        wander = Wander(name="wander", rates=simulation.flat(), n=n, jitter=0.01, drift=0.005)
        for what, case in (("2.5", large), ("1.5, half kept", stays), ("1, plateau wanders by .5", wander)):
            seen = alarms(case, runs, kept)
            yield share(f"n = {n}, jitter {what}", [bool(run["known"]) for run in seen], most=0.12)


def every_fall_counts(runs: int, kept: Kept) -> Iterator[Row]:
    """`Alarm(tolerance=0)`, for which jitter is a fall: healthy runs that are called degraded."""
    for n in (128, 256, 512):
        for jitter in (0.0, 0.015):
            seen = own_alarms(flat(n, jitter), max(runs // 4, 2), kept, tolerance=0.0)
            most = 0.075 if jitter == 0 else np.inf
            yield share(f"n = {n}, jitter {100 * jitter:g}", [bool(run["known"]) for run in seen], most=most)


FALLS = {
    "fall of 10, n = 128": (Case(name="fall 10", rates=simulation.fall(0.10), n=128), 0.85),
    "step of 10, n = 64": (Case(name="step 10", rates=simulation.drop(0.10), n=64), 0.84),
    "fall of 10, n = 256, jitter 1.5": (
        Case(name="fall10j", rates=simulation.fall(0.10), n=256, jitter=0.015),
        0.95,
    ),
    "fall of 5, n = 256, jitter 1": (
        Case(name="fall5j", rates=simulation.fall(0.05), n=256, jitter=0.01),
        0.45,
    ),
    "fall from .90 to .85, n = 128": (
        Case(name="fall 90", rates=simulation.fall(0.05, high=0.90), n=128),
        -np.inf,
    ),
}


def falls(runs: int, kept: Kept) -> Iterator[Row]:
    """Falls that are seen within 11 evaluations of the peak, by the defaults."""
    for what, (case, least) in FALLS.items():
        watched = alarms(case, runs, kept)
        for h in HORIZONS:
            seen = [[t for t in run[h] if t > case.peak] for run in watched]
            told = what if h == "known" else f"{what}, length unknown"
            yield share(told, [bool(s) for s in seen], least=least if h == "known" else -np.inf)
            yield average(
                f"{told}: evaluations until then", [s[0] - case.peak if s else np.nan for s in seen]
            )
    early = Case(name="s30", rates=simulation.drop(0.30, peak=1), n=64, jitter=0.015, peak=1)
    for h in HORIZONS:
        yield share(
            f"fall of 30 after two evaluations, n = 64, jitter 1.5, length {h}: at the next",
            [2 in run[h] for run in alarms(early, runs, kept)],
            least=1,
        )


def hard_scores(runs: int, kept: Kept) -> Iterator[Row]:
    """Healthy runs with scores that are hard to judge, n = 128: called degraded."""
    base = replace(flat(128, 0.0), name="hard")
    for name, case in {
        "5 % won": replace(base, rates=simulation.flat(0.05)),
        "95 % won": replace(base, rates=simulation.flat(0.95)),
        "30 % ties": replace(base, ties=0.3),
        "2 samples a prompt": replace(base, samples=2),
        "10 % missing, the worst most often": replace(base, missing=0.10),
        "1 % gross outliers": replace(base, outliers=0.01),
        "pairwise outcomes, 55 % won": replace(base, outcomes=True),
        "pairwise outcomes, 30 % ties": replace(base, outcomes=True, ties=0.3),
        "pairwise outcomes, 5 % won": replace(base, rates=simulation.flat(0.05), outcomes=True),
    }.items():
        watch = own_alarms if case.missing or case.outcomes else alarms
        yield share(name, [bool(run["known"]) for run in watch(case, runs, kept)], most=0.08)
