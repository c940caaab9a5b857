"""The alarm where checkpoints go up and down for no lasting reason: what a practitioner will meet.

Tables of `benchmarks.statistics`: how often healthy runs are called degraded, over sizes of jitter, prompts,
evaluations and what is known of the run's length; and that nothing is missed: collapses wherever they come,
falls that are equal on all prompts, falls under jitter.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from benchmarks import simulation
from benchmarks.cases import Case
from benchmarks.rows import Row, average, share
from benchmarks.simulation import Array
from rm_monitor import stats
from rm_monitor.stats import Detector
from rm_monitor.types import Estimate, EvalPoint
from rm_monitor.verdict.alarm import judge

REPLICATES = 1500  # 4,000 as shipped
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


def alarms(case: Case, run: int, *, replicates: int = 0) -> list[int]:
    """Evaluations of one run at which the alarm of the defaults is raised."""
    rng = case.rng(run)
    scores = case.scores(case.truth(rng), rng)
    detector = Detector(pool=not case.outcomes, horizon=case.evaluations, replicates=replicates or REPLICATES)
    return [t for t, row in enumerate(scores) if detector.add(row)[0].flagged]


def flat(n: int, jitter: float, t: int = simulation.EVALUATIONS, *, horizon: bool = True) -> Case:
    """A healthy run."""
    return Case(name=f"jitter, n = {n}", rates=simulation.flat(t=t), n=n, jitter=jitter, horizon=horizon)


def _healthy(runs: int, evaluations: Sequence[int], horizons: Sequence[bool]) -> Iterator[Row]:
    rows = []
    for t in evaluations:
        for known in horizons:
            for n in PROMPTS:
                for jitter in JITTERS:
                    case = flat(n, jitter, t, horizon=known)
                    length = "known" if known else "unknown"
                    what = f"{t} evaluations, {length}, n = {n}, jitter {100 * jitter:g}"
                    rows.append(share(what, [bool(alarms(case, r)) for r in range(runs)], most=0.08))
                    yield rows[-1]
    mean = float(np.mean([row.value for row in rows]))
    error = float(np.sqrt(np.sum([row.error**2 for row in rows])) / len(rows))
    yield Row(
        what="mean", value=mean, error=error, runs=runs * len(rows), reach="at most 0.05", met=mean <= 0.05
    )


def under_jitter(runs: int) -> Iterator[Row]:
    """Healthy runs of 20 evaluations that are called degraded, by the size of their jitter in points."""
    yield from _healthy(runs, (20,), (True, False))


def short_and_long(runs: int) -> Iterator[Row]:
    """The same in runs of 3 and of 100 evaluations."""
    yield from _healthy(runs, (3,), (True, False))
    yield from _healthy(max(runs // 10, 2), (100,), (True, False))


def beyond_jitter(runs: int) -> Iterator[Row]:
    """Healthy runs that wander more than the alarm allows for."""
    for n in (128, 256, 512):
        large = flat(n, 0.025)
        kept = Wander(name="kept", rates=simulation.flat(), n=n, jitter=0.015, phi=0.5)
        wander = Wander(name="wander", rates=simulation.flat(), n=n, jitter=0.01, drift=0.005)
        for what, case in (("2.5", large), ("1.5, half kept", kept), ("1, plateau wanders by .5", wander)):
            yield share(f"n = {n}, jitter {what}", [bool(alarms(case, r)) for r in range(runs)], most=0.12)


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
}


def falls(runs: int) -> Iterator[Row]:
    """Falls that are seen within 11 evaluations of the peak, by the defaults."""
    for what, (case, least) in FALLS.items():
        seen = [[t for t in alarms(case, r) if t > case.peak] for r in range(runs)]
        yield share(what, [bool(s) for s in seen], least=least)
        yield average(f"{what}: evaluations until then", [s[0] - case.peak if s else np.nan for s in seen])
    early = Case(name="s30", rates=simulation.drop(0.30, peak=1), n=64, jitter=0.015, peak=1)
    seen = [alarms(early, r) for r in range(runs)]
    yield share(
        "fall of 30 after two evaluations, n = 64, jitter 1.5: at the next", [2 in s for s in seen], least=1
    )


def collapses(runs: int) -> Iterator[Row]:
    """Collapse .93 -> .50 at each evaluation, unknown, known and exceeded horizon: called at the next."""
    for n in (64, 256):
        for kind in ("unknown", "known", "exceeded"):
            called, held, recovered = [], [], []
            for at in range(2, 201, max(400 // max(runs, 1), 1)):
                horizon = {"unknown": None, "known": at + 4, "exceeded": max(at // 2, 1)}[kind]
                states = _states(at, 4, n, horizon)
                called.append(states[0] == "degraded")
                held.append(all(s == "degraded" for s in states))
                recovered.append("recovered" in states)
            yield share(f"n = {n}, {kind}: called at the next", called, least=1)
            yield share(f"n = {n}, {kind}: held", held, least=1)
            yield share(f"n = {n}, {kind}: recovered", recovered, most=0)


def _states(at: int, after: int, n: int, horizon: int | None) -> list[str]:
    rng = np.random.default_rng([at, n])
    rewards = rng.normal(np.r_[np.full(at, 2.6), np.zeros(after)][:, None], 1.0, (at + after, n))
    points = [point(t, row) for t, row in enumerate(rewards)]
    return [state for step, state in judge(points, metric="win_prob", horizon=horizon).states if step >= at]


def equal_falls(runs: int) -> Iterator[Row]:
    """A fall that is equal on all prompts: all answers valid, then none; called at the next evaluation."""
    for n in (16, 32, 64, 128, 256, 512):
        for what, before, after, pool in (
            ("outcomes", 1.0, 0.0, False),
            ("0/1 rewards", 1.0, 0.0, True),
            ("probabilities", 0.9, 0.6, False),
        ):
            hits = []
            for at in (1, 2, 5, 19, 20, 21, 58, 59, 60)[: 9 if runs >= 50 else 5]:
                scores = np.r_[np.full(at, before), after][:, None] + np.zeros(n)
                detector = Detector(pool=pool, replicates=REPLICATES)
                hits.append([detector.add(row)[0].flagged for row in scores][-1])
            yield share(f"{what}, n = {n}", hits, least=1)


def point(step: int, rewards: Array) -> EvalPoint:
    """A point of a curve whose references score 0."""
    probability = stats.win_probability(rewards)
    metrics: dict[str, Estimate] = {"win_prob": stats.share(probability)}
    return EvalPoint(step=step, metrics=metrics, values={"reward": rewards, "win_prob": probability})


def fresh(runs: int) -> Iterator[Row]:
    """`confirm_on_warn` and a second judge in healthy runs that jitter by 1.5 points: false alarms."""
    for n in (128, 256):
        case = flat(n, 0.015)
        yield share(f"n = {n}, fresh prompts", [_settled(case, r) for r in range(runs)], most=0.07)
    case = replace(flat(128, 0.015), name="second judge")
    yield share(
        "n = 128, a second judge's own alarm", [bool(alarms(case, r)) for r in range(runs)], most=0.07
    )


def _settled(case: Case, run: int) -> bool:
    rng = case.rng(run)
    rates = case.truth(rng)
    scores, held_out = case.scores(rates, rng), case.scores(rates, rng)
    detector = Detector(
        levels=(0.05, 0.20), horizon=case.evaluations, confirm_on_warn=True, replicates=REPLICATES
    )
    for t, row in enumerate(scores):
        alarm, warning = detector.add(row)
        if alarm.flagged:
            return True
        if np.isfinite(warning.fresh_level) and detector.table is not None:
            best = int(np.argmax(detector.table.value[:-1]))
            if stats.retest(held_out[best], held_out[t], level=warning.fresh_level).confirmed:
                return True
    return False
