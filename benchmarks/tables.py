"""The tables: what is measured, and what it must reach."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks import jitter as ups_and_downs
from benchmarks import measure, simulation
from benchmarks.cases import Case
from benchmarks.rows import Row, average, share
from benchmarks.simulation import Array
from rm_monitor import stats
from rm_monitor.types import Estimate, EvalPoint
from rm_monitor.verdict.alarm import Memory, judge

Table = Callable[[int], Iterator[Row]]


# --------------------------------------------------------------------------- the alarm


def healthy(n: int, rate: float = 0.55, **changes: Any) -> Case:
    """A run that stays where it is."""
    return Case(name=f"healthy, win rate {rate:.0%}, n = {n}", rates=simulation.flat(rate), n=n, **changes)


FALLING = {
    "fall of 10 points, n = 128": Case(name="fall 10", rates=simulation.fall(0.10), n=128),
    "fall of 10 points, n = 256": Case(name="fall 10", rates=simulation.fall(0.10), n=256),
    "fall of 5 points, n = 256": Case(name="fall 5", rates=simulation.fall(0.05), n=256),
    "fall from .90 to .85, n = 128": Case(name="fall 90", rates=simulation.fall(0.05, high=0.90), n=128),
    "step of 10 points, n = 64": Case(name="step 10", rates=simulation.drop(0.10), n=64),
}


def false_alarms(runs: int) -> Iterator[Row]:
    """Healthy runs that raise the alarm at least once in 20 evaluations."""
    rows = []
    for rate in (0.55, 0.90):
        for n in (64, 128, 256, 512):
            case = healthy(n, rate)
            seen = [measure.watch(case, r) for r in range(runs)]
            rows.append(share(case.name, [bool(w.alarms) for w in seen], most=0.075))
            yield rows[-1]
            if rate == 0.55:
                yield share(f"{case.name}: warned", [bool(w.warnings) for w in seen])
                yield from _bounds(case.name, case, seen)
    mean = np.mean([row.value for row in rows])
    error = np.sqrt(np.sum([row.error**2 for row in rows])) / len(rows)
    yield Row(
        what="mean of these",
        value=float(mean),
        error=float(error),
        runs=runs * len(rows),
        reach="at most 0.055",
        met=bool(mean <= 0.055),
    )


def rules_of_thumb(runs: int) -> Iterator[Row]:
    """What healthy runs of 256 prompts are told by rules that are in use."""
    case = healthy(256)
    found: dict[str, list[bool]] = {}
    for r in range(runs):
        for what, alarm in measure.rules_of_thumb(case, r).items():
            found.setdefault(what, []).append(alarm)
    for what, alarms in found.items():
        yield share(what, alarms)


def hard_scores(runs: int) -> Iterator[Row]:
    """The same with scores that are hard to judge, n = 128."""
    base = healthy(128)
    longer = Case(
        name="healthy, 40 evaluations, horizon unknown", rates=simulation.flat(t=40), n=128, horizon=False
    )
    for case in (
        healthy(128, 0.05),
        healthy(128, 0.95),
        replace(base, name="30 % ties", ties=0.3),
        replace(base, name="2 samples a prompt", samples=2),
        replace(base, name="10 % missing, the worst most often", missing=0.10),
        replace(base, name="1 % gross outliers", outliers=0.01),
        replace(base, name="horizon unknown", horizon=False),
        longer,
        replace(base, name="pairwise outcomes, 55 % won", outcomes=True),
        replace(base, name="pairwise outcomes, 30 % ties", outcomes=True, ties=0.3),
        replace(base, name="pairwise outcomes, 5 % won", rates=simulation.flat(0.05), outcomes=True),
    ):
        yield share(case.name, [bool(measure.watch(case, r).alarms) for r in range(runs)], most=0.08)


def power(runs: int) -> Iterator[Row]:
    """Falling runs whose fall is seen, within 11 evaluations after the peak."""
    reach = dict(zip(FALLING, (0.84, 0.98, 0.51, 0.80, 0.84), strict=True))
    for what, case in FALLING.items():
        seen = [measure.watch(case, r) for r in range(runs)]
        yield share(what, [late(w.alarms, case) for w in seen], least=reach[what])
        yield average(f"{what}: evaluations until then", [delay(w.alarms, case) for w in seen])
        yield share(f"{what}: warned", [late(w.warnings, case) for w in seen])
        yield from _bounds(what, case, seen)
    for what in ("fall of 10 points, n = 128", "step of 10 points, n = 64"):
        case = replace(FALLING[what], horizon=False)
        yield share(
            f"{what}, horizon unknown", [late(measure.watch(case, r).alarms, case) for r in range(runs)]
        )


def _bounds(what: str, case: Case, seen: Sequence[measure.Watched]) -> Iterator[Row]:
    """Whether the bounds told in a run hold, and how much an alarm overstates."""
    wins = measure.pairwise_wins(case.rates)
    hold, wrong, excess = [], [], []
    for watched in seen:
        looks = watched.looks
        falls = measure.true_falls(looks, wins)
        told = [look.low <= fall for look, fall in zip(looks, falls, strict=True) if np.isfinite(look.low)]
        hold.append(all(told))
        if watched.alarms:
            first = watched.alarms[0]
            wrong.append(looks[first].low > falls[first])
            excess.append(100 * (looks[first].drop - falls[first]))
    yield share(f"{what}: all drop bounds of a run hold", hold, least=0.93)
    if wrong:
        yield share(f"{what}: bound wrong, given an alarm", wrong)
        yield average(f"{what}: shown drop minus the true one at an alarm, points", excess)


def late(alarms: Sequence[int], case: Case) -> bool:
    """Whether an alarm came after the truth began to fall."""
    return any(t > case.peak for t in alarms)


def delay(alarms: Sequence[int], case: Case) -> float:
    """Evaluations from the peak to the first alarm after it."""
    return min((t - case.peak for t in alarms if t > case.peak), default=np.nan)


def visible(runs: int) -> Iterator[Row]:
    """The smallest visible drop, told at evaluation 9, and how often a lasting fall of that size is seen."""
    for n in (128, 512):
        case = Case(name="visible", rates=simulation.rise(), n=n)
        told = [measure.watch(case, r).looks[case.peak].visible for r in range(max(runs // 4, 2))]
        yield average(f"told, n = {n}, points", [100 * v for v in told])
        fell = replace(case, rates=simulation.drop(measure.points_for(float(np.mean(told)))))
        yield share(
            f"a fall of that size is seen, n = {n}",
            [late(measure.watch(fell, r).alarms, fell) for r in range(runs)],
        )


def confirm_on_warn(runs: int) -> Iterator[Row]:
    """The alarm when warnings are settled on as many fresh prompts."""
    for case in (healthy(64), healthy(128), healthy(256), healthy(64, 0.90)):
        seen = [measure.watch(case, r, confirm=True) for r in range(runs)]
        yield share(f"{case.name}: false alarms", [bool(w.alarms) for w in seen], most=0.05)
        yield average(f"{case.name}: fresh evaluations a run", [2 * len(w.asked) for w in seen])
    reach = dict(zip(FALLING, (-np.inf, -np.inf, 0.56, 0.84, 0.87), strict=True))
    for what, case in FALLING.items():
        seen = [measure.watch(case, r, confirm=True) for r in range(runs)]
        yield share(what, [late(w.alarms, case) for w in seen], least=reach[what])
        yield average(f"{what}: evaluations until then", [delay(w.alarms, case) for w in seen])


TOLERANCES = (0.0, 0.01, 0.02, 0.03, 0.04)


def tolerance(runs: int) -> Iterator[Row]:
    """Real checkpoints jitter: true win rates with a standard deviation of 1.5 points between neighbours."""
    runs = max(runs // 3, 2)
    for n in (128, 256, 512):
        for tolerated in TOLERANCES:
            case = replace(healthy(n), name=f"jitter, n = {n}", jitter=0.015)
            seen = [bool(measure.watch(case, r, tolerance=tolerated).alarms) for r in range(runs)]
            yield share(f"{case.name}, tolerance {tolerated:g}: alarms", seen)
    for points in (0.10, 0.20):
        for tolerated in TOLERANCES:
            case = Case(name="jitter, fall", rates=simulation.fall(points), n=256, jitter=0.015)
            seen = [late(measure.watch(case, r, tolerance=tolerated).alarms, case) for r in range(runs)]
            yield share(f"fall of {100 * points:.0f} points, n = 256, tolerance {tolerated:g}: seen", seen)


# --------------------------------------------------------------------------- the best, the bands, the bounds


def best(runs: int) -> Iterator[Row]:
    """True points of win rate lost by the choice, n = 256, truth jittered by 1.5 points."""
    fall = Case(name="best, fall 10", rates=simulation.fall(0.10), n=256, jitter=0.015)
    rise = Case(name="best, rise", rates=simulation.rise(), n=256, jitter=0.015)
    for case, live_reach, confirm_reach in ((fall, 0.56, 0.32), (rise, np.inf, np.inf)):
        live = [100 * measure.regret(case, r) for r in range(runs)]
        yield average(f"{case.name}: live best", live, most=live_reach)
        chosen = [measure.confirmed_regret(case, r) for r in range(runs)]
        regret = [100 * c.regret for c in chosen]
        yield average(f"{case.name}: confirmed, same budget", regret, most=confirm_reach)
        yield share(f"{case.name}: interval of the confirmed value holds", [c.covered for c in chosen])
        yield average(f"{case.name}: bias of the confirmed value, points", [100 * c.bias for c in chosen])


def coverage(runs: int) -> Iterator[Row]:
    """Bands that hold their own point's truth."""
    for rate in (0.55, 0.90):
        for n in (64, 256):
            case = healthy(n, rate)
            for probability, name in ((True, "win probability"), (False, "win rate")):
                hits = np.array([measure.covered(case, r, probability=probability) for r in range(runs)])
                row = share(f"95 % band, {name}, {case.name}", hits.ravel(), least=0.94, most=0.965)
                yield replace(row, error=float(hits.mean(axis=1).std(ddof=1) / np.sqrt(runs)))
                if probability and rate == 0.55:
                    yield share(f"the whole curve inside it, {case.name}", hits.all(axis=1))


# --------------------------------------------------------------------------- cost


def cost(runs: int) -> Iterator[Row]:
    """CPU-seconds of a verdict at evaluation 60 of 512 prompts."""
    rng = np.random.default_rng(0)
    scores = simulation.rewards(simulation.flat(t=60), 512, rng)
    curve = [_point(t, row) for t, row in enumerate(scores)]
    spent = []
    for _ in range(min(runs, 20)):
        memory = Memory()
        judge(curve[:-1], metric="win_prob", horizon=60, memory=memory)
        start = time.process_time()
        judge(curve, metric="win_prob", horizon=60, memory=memory)
        spent.append(time.process_time() - start)
    yield average("one more verdict", spent, most=0.1)
    start = time.process_time()
    judge(curve, metric="win_prob", horizon=60)
    yield average("all 60 anew, as after a resume", [time.process_time() - start])


def _point(step: int, rewards: Array) -> EvalPoint:
    probability = stats.win_probability(rewards)
    metrics: dict[str, Estimate] = {"win_prob": stats.share(probability)}
    return EvalPoint(step=step, metrics=metrics, values={"reward": rewards, "win_prob": probability})


TABLES: dict[str, Table] = {
    "false_alarms": false_alarms,
    "rules_of_thumb": rules_of_thumb,
    "hard_scores": hard_scores,
    "power": power,
    "visible": visible,
    "confirm_on_warn": confirm_on_warn,
    "best": best,
    "coverage": coverage,
    "tolerance": tolerance,
    "under_jitter": ups_and_downs.under_jitter,
    "short_and_long": ups_and_downs.short_and_long,
    "beyond_jitter": ups_and_downs.beyond_jitter,
    "falls": ups_and_downs.falls,
    "collapses": ups_and_downs.collapses,
    "equal_falls": ups_and_downs.equal_falls,
    "fresh": ups_and_downs.fresh,
    "cost": cost,
}
