"""That nothing is missed: collapses wherever they come, falls that are equal on all prompts, real curves.

Tables of `benchmarks.statistics`. They ask the whole verdict (`rm_monitor.verdict.judge`), as shipped.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from copy import deepcopy
from pathlib import Path

import numpy as np
from scipy.special import expit

from benchmarks.kept import Kept
from benchmarks.rows import Row, average, share
from benchmarks.simulation import Array
from rm_monitor import stats
from rm_monitor.stats import Detector, Memory
from rm_monitor.types import Estimate, EvalPoint
from rm_monitor.verdict import judge

LAST, AFTER, SEEDS = 201, 4, 2  # evaluations; how many stay below; runs at each
OFF = 0.08  # of win probability, taken off a real curve
REAL = (
    "RM_MONITOR_REAL"  # a folder with `curves/*.npz`: arrays `reward` and `win_prob`, (evaluations, prompts)
)


def point(step: int, rewards: Array) -> EvalPoint:
    """A point of a curve whose references score 0."""
    probability = stats.win_probability(rewards)
    metrics: dict[str, Estimate] = {"win_prob": stats.share(probability)}
    return EvalPoint(step=step, metrics=metrics, values={"reward": rewards, "win_prob": probability})


def collapses(runs: int, kept: Kept) -> Iterator[Row]:
    """Collapse .93 -> .50 at each evaluation from the third on, whatever is known of the length."""
    last = LAST if runs >= 100 else 5
    for n in (64, 256):
        for kind in ("unknown", "known", "exceeded"):
            seen = []
            for seed in range(SEEDS):
                name = f"collapses: n {n}, {kind}, to {last}, seed {seed}"
                seen += kept(name, lambda k=kind, m=n, s=seed: _collapsing(k, m, s, last))  # type: ignore[misc]
            yield share(f"n = {n}, {kind}: called at the next", [s[0] == "degraded" for s in seen], least=1)
            yield share(f"n = {n}, {kind}: held", [set(s) == {"degraded"} for s in seen], least=1)
            yield share(f"n = {n}, {kind}: recovered", ["recovered" in s for s in seen], most=0)


def _collapsing(kind: str, n: int, seed: int, last: int) -> list[list[str]]:
    """States after a collapse at each evaluation; a length is exceeded by twice it, at least."""
    if kind != "exceeded":
        return _chain(range(2, last + 1), n, seed, None if kind == "unknown" else last + AFTER)
    found, horizon = [], 1
    while 2 * horizon <= last:
        found += _chain(range(2 * horizon, min(4 * horizon, last + 1)), n, seed, horizon)
        horizon *= 2
    return found


def _chain(ats: Sequence[int], n: int, seed: int, horizon: int | None) -> list[list[str]]:
    """One healthy run, and from each of its evaluations on one that has collapsed."""
    rng = np.random.default_rng([n, seed])
    healthy = [point(t, row) for t, row in enumerate(rng.normal(2.6, 1.0, (ats[-1], n)))]
    memory, found = Memory(), []
    for at in ats:
        judge(healthy[:at], metric="win_prob", horizon=horizon, memory=memory)
        fallen = [point(at + i, row) for i, row in enumerate(rng.normal(0.0, 1.0, (AFTER, n)))]
        verdict = judge([*healthy[:at], *fallen], metric="win_prob", horizon=horizon, memory=deepcopy(memory))
        found.append([state for step, state in verdict.states if step >= at])
    return found


def equal_falls(runs: int, kept: Kept) -> Iterator[Row]:
    """A fall that is equal on all prompts: all answers valid, then none; called at the next evaluation."""
    at = (1, 2, 5, 19, 20, 21, 58, 59, 60) if runs >= 50 else (1, 2, 5)
    for n in (16, 32, 64, 128, 256, 512):
        for what, before, after, pool in (
            ("outcomes", 1.0, 0.0, False),
            ("0/1 rewards", 1.0, 0.0, True),
            ("probabilities", 0.9, 0.6, False),
        ):
            name = f"equal falls: {what}, {n}, at {at}"
            hits = kept(name, lambda b=before, a=after, p=pool, m=n: _equal(at, b, a, m, p))  # type: ignore[misc]
            yield share(f"{what}, n = {n}", hits, least=1)


def _equal(ats: Sequence[int], before: float, after: float, n: int, pool: bool) -> list[bool]:
    detector, hits = Detector(pool=pool), []
    for t in range(max(ats) + 1):
        if t in ats:
            hits.append(deepcopy(detector).add(np.full(n, after))[0].flagged)
        detector.add(np.full(n, before))
    return hits


def real_curves(runs: int, kept: Kept) -> Iterator[Row]:
    """Healthy real runs, as they are and with 8 points of win probability off from the sixth on or later."""
    folder = os.environ.get(REAL)
    files = sorted(Path(folder, "curves").glob("*.npz")) if folder else []
    if not files:
        print(f"(not measured: {REAL} names no folder with curves/*.npz)")
        return
    for known in (False, True):
        silent, late = [], []
        for file in files:
            with np.load(file) as curve:
                rewards, won = curve["reward"], curve["win_prob"]
            name = f"real: {file.stem}, {'known' if known else 'unknown'}"
            found = kept(name, lambda r=rewards, w=won, k=known: _real(r, w, k))  # type: ignore[misc]
            silent.append(not {"degraded", "recovered"} & set(found["as it is"]))
            late += found["evaluations until called"]
        length = "length known" if known else "length unknown"
        yield share(f"{length}: no alarm, never recovered", silent, least=1)
        yield share(f"{length}: 8 points off, called within three", [0 < x <= 3 for x in late], least=1)
        yield average(f"{length}: 8 points off, evaluations until then", [x or np.nan for x in late])


def _real(rewards: Array, won: Array, known: bool) -> dict[str, list[str] | list[int]]:
    """States of a run, and after how many evaluations a fall from each on is called; 0: not within three."""
    horizon = len(won) if known else None
    low = np.array([_lowered(row, OFF) for row in won])
    plain = _curve(rewards, won)
    fallen = _curve(rewards + np.log(low / (1.0 - low)) - np.log(won / (1.0 - won)), low)
    memory, late = Memory(), []
    for at in range(5, len(won) - 2):
        judge(plain[:at], metric="win_prob", horizon=horizon, memory=memory)
        seen = [*plain[:at], *fallen[at : at + 3]]
        states = judge(seen, metric="win_prob", horizon=horizon, memory=deepcopy(memory)).states
        late.append(next((i + 1 for i, (_, state) in enumerate(states[at:]) if state == "degraded"), 0))
    whole = judge(plain, metric="win_prob", horizon=horizon, memory=memory)
    return {"as it is": [state for _, state in whole.states], "evaluations until called": late}


def _lowered(won: Array, by: float) -> Array:
    """The win probabilities of one evaluation with their mean lower by so much, each by the same margin."""
    margin = np.log(won / (1.0 - won))
    lost = np.linspace(0.0, 4.0, 2001)
    means = expit(margin[None] - lost[:, None]).mean(axis=1)
    lowered: Array = expit(margin - lost[int(np.argmin(np.abs(means - (won.mean() - by))))])
    return lowered


def _curve(rewards: Array, won: Array) -> list[EvalPoint]:
    return [
        EvalPoint(step=t, metrics={"win_prob": stats.share(p)}, values={"reward": r, "win_prob": p})
        for t, (r, p) in enumerate(zip(rewards, won, strict=True))
    ]
