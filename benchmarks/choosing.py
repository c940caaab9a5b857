"""The best checkpoint: what a choice loses, and whether what is said of it is true."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from benchmarks import measure, simulation
from benchmarks.cases import Case
from benchmarks.kept import Kept
from benchmarks.rows import Row, average, share
from benchmarks.simulation import Array
from rm_monitor import stats

CHECKPOINTS, ENOUGH = 12, 100


def best(runs: int, kept: Kept) -> Iterator[Row]:
    """True points of win rate lost by the choice, n = 256, truth jittered by 1.5 points."""
    fall = Case(name="best, fall 10", rates=simulation.fall(0.10), n=256, jitter=0.015)
    rise = Case(name="best, rise", rates=simulation.rise(), n=256, jitter=0.015)
    for case in (fall, rise):
        live = kept(f"regret: {case.key}, {runs}", lambda c=case: [measure.regret(c, r) for r in range(runs)])  # type: ignore[misc]
        yield average(f"{case.name}: live best", 100 * np.array(live))
        name = f"confirmed: {case.key}, {runs}"
        chosen = kept(name, lambda c=case: [measure.confirmed_regret(c, r).row for r in range(runs)])  # type: ignore[misc]
        regret, covered, bias = np.array(chosen, dtype=np.float64).T
        yield average(f"{case.name}: confirmed, same budget", 100 * regret)
        yield share(f"{case.name}: interval of the confirmed value holds", covered, least=0.93)
        yield average(f"{case.name}: bias of the confirmed value, points", 100 * bias)


def _truths() -> dict[str, Array]:
    t = CHECKPOINTS
    return {
        "equal": np.full(t, 0.55),
        "close": 0.55 + 0.01 * np.sin(np.arange(t)),
        "rise": simulation.rise(0.60, 8, t),
        "fall": simulation.fall(0.10, 0.60, 5, t),
        "steep": simulation.fall(0.25, 0.65, 3, t),
    }


def probability(runs: int, kept: Kept) -> Iterator[Row]:
    """P(best) as it is said against how often the chosen one truly is the best, by fifths of the scale."""
    found = [x for cell in _chosen(runs, kept) for x in cell]
    said = np.array([x["p_best"] for x in found])
    true = np.array([x["is_best"] for x in found])
    for low in (0.0, 0.2, 0.4, 0.6, 0.8):
        here = (said >= low) & ((said < low + 0.2) | (low == 0.8))
        if not here.any():
            continue
        row = share(
            f"said {low:.1f} to {low + 0.2:.1f}, on the average {said[here].mean():.3f}: was", true[here]
        )
        apart = abs(row.value - float(said[here].mean()))
        yield Row(
            what=row.what,
            value=row.value,
            error=row.error,
            runs=row.runs,
            reach="within 0.06 of what was said" if row.runs >= ENOUGH else "",
            met=apart <= 0.06 if row.runs >= ENOUGH else None,
        )


def costs(runs: int, kept: Kept) -> Iterator[Row]:
    """'Costs at most' and the tied: what is said of the chosen and of the earliest tied one holds."""
    for (name, n), cell in zip(_kinds(), _chosen(runs, kept), strict=True):
        for what in ("cost", "earliest_cost"):
            yield share(
                f"{name}, n = {n}: {what.replace('_', ' ')}", [x[f"{what}_holds"] for x in cell], least=0.95
            )
        yield share(f"{name}, n = {n}: the tied hold the best", [x["among_tied"] for x in cell], least=0.93)
        yield average(f"{name}, n = {n}: the chosen costs at most, points", [100 * x["cost"] for x in cell])


def _kinds() -> list[tuple[str, int]]:
    return [(name, n) for name in _truths() for n in (64, 256)]


def _chosen(runs: int, kept: Kept) -> list[list[dict[str, Any]]]:
    found = []
    for name, n in _kinds():
        case = Case(name=f"choice, {name}", rates=_truths()[name], n=n, jitter=0.01)
        found.append(kept(f"chosen: {case.key}, {runs}", lambda c=case: [_choose(c, r) for r in range(runs)]))  # type: ignore[misc]
    return found


def _choose(case: Case, run: int) -> dict[str, Any]:
    rng = case.rng(run)
    rates = case.truth(rng)
    choice = stats.best(case.scores(rates, rng))
    pool = measure.pool_of(rates)
    lost = pool.max() - pool
    truly = int(np.argmax(pool))
    return {
        "p_best": choice.p_best,
        "is_best": truly == choice.index,
        "among_tied": truly in (choice.index, *choice.tied),
        "cost": choice.cost,
        "cost_holds": bool(lost[choice.index] <= choice.cost + 1e-9),
        "earliest_cost_holds": bool(lost[choice.earliest] <= choice.earliest_cost + 1e-9),
    }
