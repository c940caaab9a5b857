"""What happened in each of many runs of a case."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from scipy.special import expit

from benchmarks import simulation
from benchmarks.cases import Case
from benchmarks.simulation import Array
from benchmarks.watching import ALPHA, FEWER
from rm_monitor import stats

WARN = 0.20


@dataclass(kw_only=True)
class Watched:
    """One run, watched from the first evaluation to the last.

    Attributes:
        alarms: Evaluations that raised the alarm.
        warnings: Evaluations that warned.
        looks: The looks at the alarm's rate.
        asked: Evaluations at which fresh prompts were answered.
    """

    alarms: list[int] = field(default_factory=list)
    warnings: list[int] = field(default_factory=list)
    looks: list[stats.Look] = field(default_factory=list)
    asked: list[int] = field(default_factory=list)


def watch(case: Case, run: int, *, confirm: bool = False) -> Watched:
    """The whole alarm of the defaults, and with ``confirm`` its warnings settled on as many fresh prompts."""
    rng = case.rng(run)
    rates = case.truth(rng)
    scores = case.scores(rates, rng)
    fresh = case.scores(rates, rng) if confirm else scores
    detector = stats.Detector(
        levels=(ALPHA, WARN),
        pool=not case.outcomes,
        horizon=len(case.rates),
        confirm_on_warn=confirm,
        replicates=FEWER,
    )
    seen = Watched()
    for t, row in enumerate(scores):
        alarm, warning = detector.add(row)
        raised = alarm.flagged
        if np.isfinite(warning.fresh_level):
            seen.asked.append(t)
            assert detector.table is not None
            best = int(np.argmax(detector.table.value[:-1]))
            settled = stats.retest(fresh[best], fresh[t], level=warning.fresh_level, pool=not case.outcomes)
            raised |= settled.confirmed
        seen.looks.append(alarm)
        seen.alarms += [t] if raised else []
        seen.warnings += [t] if warning.flagged else []
    return seen


def rules_of_thumb(case: Case, run: int) -> dict[str, bool]:
    """Whether simple rules on the mean win probability raise an alarm in a run."""
    rng = case.rng(run)
    p = stats.win_probability(case.scores(case.truth(rng), rng))
    mean = p.mean(axis=1)
    below, t_test, stale, patience = False, False, 0, False
    for t in range(1, len(p)):
        best = int(mean[:t].argmax())
        below |= bool(mean[t] < mean[best] - 0.02)
        t_test |= stats.paired_change(p[best], p[t], level=0.90).high < 0  # one-sided 5 %
        stale = 0 if mean[t] > mean[best] else stale + 1
        patience |= stale >= 3
    return {
        "2 points below the best so far": below,
        "3 evaluations without a new best": patience,
        "paired t-test against the best so far": t_test,
    }


def regret(case: Case, run: int) -> float:
    """True win rate lost by taking the live best."""
    rng = case.rng(run)
    rates = case.truth(rng)
    return float(rates.max() - rates[stats.best(case.scores(rates, rng)).index])


@dataclass(frozen=True, kw_only=True)
class Confirmed:
    """A choice on held-out prompts: what it lost, and whether its interval holds the winner's truth."""

    regret: float
    covered: bool
    bias: float

    @property
    def row(self) -> list[float]:
        """All three."""
        return [self.regret, float(self.covered), self.bias]


def confirmed_regret(case: Case, run: int, *, live: float = 0.75, keep: Sequence[int] = (5, 3)) -> Confirmed:
    """The same after confirmation, with as many answers in all: fewer live, the rest for the finalists."""
    rng = case.rng(run)
    rates = case.truth(rng)
    spent = round(live * case.n)
    stage_budget = (case.n - spent) * len(rates) // len(keep)

    def answer(rows: tuple[int, ...], stage: int) -> tuple[Array, Array]:
        rewards = case.scores(rates, rng, stage_budget // len(rows))[list(rows)]
        return rewards, expit(rewards)

    choice = stats.confirm(case.scores(rates, rng, spent), answer, keep=keep)
    truth = float(simulation.win_probabilities(rates)[choice.index])
    return Confirmed(
        regret=float(rates.max() - rates[choice.index]),
        covered=bool(choice.value.low <= truth <= choice.value.high),
        bias=choice.value.value - truth,
    )


def covered(case: Case, run: int, *, probability: bool) -> list[bool]:
    """Whether each point's band holds its own truth."""
    rng = case.rng(run)
    rates = case.truth(rng)
    bands = [stats.win_prob(row) if probability else stats.win_rate(row) for row in case.scores(rates, rng)]
    truth = simulation.win_probabilities(rates) if probability else rates
    return [bool(band.low <= true <= band.high) for band, true in zip(bands, truth, strict=True)]


def true_falls(looks: Iterable[stats.Look], wins: Array) -> list[float]:
    """True fall of the pool score of each look's contrast; nan where nothing was compared."""
    falls = []
    for t, look in enumerate(looks):
        pool = wins[: t + 1, : t + 1].mean(axis=1)
        falls.append(
            float(pool[list(look.against)].mean() - pool[list(look.now)].mean()) if look.against else np.nan
        )
    return falls


_DRAWS, _APART = 100_000, np.linspace(-6.0, 6.0, 49)


def points_for(fall: float, high: float = 0.60) -> float:
    """Points of win rate, from ``high``, by which a fall of the pool score of this size is a fall."""
    points = np.linspace(0.01, 0.25, 25)
    falls = [pairwise_wins(np.array([high, high - p]))[0, 1] - 0.5 for p in points]
    return float(np.interp(fall, falls, points))


def pairwise_wins(rates: Array) -> Array:
    """``(t, t)`` true mean probability that a checkpoint's answer beats another's."""
    level = simulation.levels(rates)
    t = len(level)
    wins = np.full((t, t), 0.5)
    for a in range(t):
        for b in range(a):
            wins[a, b] = float(np.interp(level[a] - level[b], _APART, _wins_apart(a - b)))
            wins[b, a] = 1.0 - wins[a, b]
    return wins


def pool_of(rates: Array) -> Array:
    """``(t,)`` true pool score of each checkpoint of a run."""
    found: Array = pairwise_wins(rates).mean(axis=1)
    return found


@lru_cache(maxsize=256)
def _wins_apart(evaluations: int) -> Array:
    """Mean probability of winning over the levels of `_APART`, so many evaluations apart."""
    rng = np.random.default_rng(1)
    scale = np.exp(simulation.SCALE * rng.normal(size=_DRAWS))
    moved = simulation.DRIFT * np.sqrt(2.0 * (1.0 - simulation.STAYS**evaluations)) * rng.normal(size=_DRAWS)
    drawn = simulation.NOISE / np.sqrt(5 / 3) * rng.standard_t(5, size=(2, _DRAWS))
    between = moved + drawn[0] - drawn[1]
    apart = np.array([expit(scale * (x + between)).mean() for x in _APART])
    found: Array = (apart + 1.0 - apart[::-1]) / 2.0
    return found
