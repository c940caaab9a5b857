"""The tables: what is measured, and what it must reach."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from benchmarks import bands, beside, choosing, jitter, measure, never_deaf, simulation
from benchmarks import cost as costs
from benchmarks.cases import Case
from benchmarks.jitter import FALLS, flat
from benchmarks.kept import Kept
from benchmarks.rows import Row, average, share
from benchmarks.watching import alarms

Table = Callable[[int, Kept], Iterator[Row]]


def rules_of_thumb(runs: int, kept: Kept) -> Iterator[Row]:
    """What healthy runs of 256 prompts are told by rules that are in use; checkpoints are exactly equal."""
    case = flat(256, 0.0)
    found = kept(
        f"rules of thumb: {case.key}, {runs}", lambda: [measure.rules_of_thumb(case, r) for r in range(runs)]
    )
    for what in found[0]:
        yield share(what, [run[what] for run in found])


def bounds(runs: int, kept: Kept) -> Iterator[Row]:
    """What is told at a look: bounds of falls that hold, how much an alarm overstates, warnings."""
    for what, case in {
        "healthy, n = 128": flat(128, 0.0),
        "fall of 10, n = 128": FALLS["fall of 10, n = 128"][0],
        "step of 10, n = 64": FALLS["step of 10, n = 64"][0],
    }.items():
        name = f"told: {case.key}, {runs}"
        seen = kept(name, lambda c=case: [_told(c, r) for r in range(runs)])  # type: ignore[misc]
        yield share(f"{what}: warned", [s["warned"] for s in seen])
        yield share(f"{what}: all bounds of a run hold", [s["hold"] for s in seen], least=0.93)
        at_alarm = [s for s in seen if s["alarm"]]
        if at_alarm:
            yield share(f"{what}: bound wrong, given an alarm", [s["wrong"] for s in at_alarm])
            excess = [100 * s["excess"] for s in at_alarm]
            yield average(f"{what}: shown fall minus the true one at an alarm, points", excess)


def _told(case: Case, run: int) -> dict[str, bool | float]:
    watched = measure.watch(case, run)
    looks = watched.looks
    falls = measure.true_falls(looks, measure.pairwise_wins(case.rates))
    told = [look.low <= fall for look, fall in zip(looks, falls, strict=True) if np.isfinite(look.low)]
    first = watched.alarms[0] if watched.alarms else None
    return {
        "warned": bool(watched.warnings),
        "hold": all(told),
        "alarm": first is not None,
        "wrong": first is not None and bool(looks[first].low > falls[first]),
        "excess": 0.0 if first is None else looks[first].drop - falls[first],
    }


def visible(runs: int, kept: Kept) -> Iterator[Row]:
    """The smallest visible fall, told at the ninth evaluation, and how often one of that size is seen."""
    for n in (128, 512):
        case = Case(name="visible", rates=simulation.rise(), n=n)
        some = max(runs // 8, 2)
        told = kept(f"visible: {case.key}, {some}", lambda c=case, s=some: _visible(c, range(s)))  # type: ignore[misc]
        yield average(f"told, n = {n}, points of pool score", [100 * v for v in told])
        fell = replace(case, rates=simulation.drop(measure.points_for(float(np.mean(told)))))
        seen = [[t for t in run["known"] if t > case.peak] for run in alarms(fell, runs, kept)]
        yield share(f"a fall of that size is seen, n = {n}", [bool(s) for s in seen])


def _visible(case: Case, runs: Sequence[int]) -> list[float]:
    return [measure.watch(case, r).looks[case.peak].visible for r in runs]


TABLES: dict[str, Table] = {
    "under_jitter": jitter.under_jitter,
    "beyond_jitter": jitter.beyond_jitter,
    "falls": jitter.falls,
    "short": jitter.short,
    "real_curves": never_deaf.real_curves,
    "equal_falls": never_deaf.equal_falls,
    "collapses": never_deaf.collapses,
    "fresh": beside.fresh,
    "second_judge": beside.second_judge,
    "text_drifts": beside.text_drifts,
    "probability": choosing.probability,
    "costs": choosing.costs,
    "best": choosing.best,
    "coverage": bands.coverage,
    "clusters": bands.clusters,
    "edges": bands.edges,
    "cost": costs.cost,
    "rules_of_thumb": rules_of_thumb,
    "every_fall_counts": jitter.every_fall_counts,
    "hard_scores": jitter.hard_scores,
    "bounds": bounds,
    "visible": visible,
    "lent": jitter.lent,
    "long": jitter.long,
}
