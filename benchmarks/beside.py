"""What is seen beside the headline where healthy runs jitter: fresh prompts, a second judge, text metrics."""

from __future__ import annotations

from collections.abc import Iterator
from zlib import crc32

import numpy as np
from scipy.special import expit

from benchmarks import measure, simulation
from benchmarks.cases import Case
from benchmarks.jitter import FALLS, flat
from benchmarks.kept import Kept
from benchmarks.rows import Row, average, share
from benchmarks.simulation import Array
from rm_monitor import stats
from rm_monitor.curve.metrics import WATCHED, Metric
from rm_monitor.stats import Memory
from rm_monitor.types import EvalPoint
from rm_monitor.verdict.drift import drift
from rm_monitor.verdict.signals.overoptimisation import second_opinions

PROMPTS, SHARED = 128, 0.5  # of the variance of two judges' noise
USUAL = {"truncated": 0.10, "empty": 0.01, "repetition": 0.06, "distinct": 0.80, "duplicates": 0.02}
USUAL |= {"shared": 0.06, "top10_mass": 0.93, "above_references": 0.03}
USUAL |= {"length": 150.0, "thinking_length": 150.0, "entropy": 1.2}
_STAYS = 0.7  # correlation of one prompt's text metric between checkpoints


def fresh(runs: int, kept: Kept) -> Iterator[Row]:
    """`confirm_on_warn`, warnings settled on as many fresh prompts: false alarms, and falls that are seen."""
    for n in (128, 256):
        case = flat(n, 0.015)
        name = f"settled: {case.key}, {runs}"
        seen = kept(name, lambda c=case: [_settled(c, r) for r in range(runs)])  # type: ignore[misc]
        what = f"n = {n}, jitter 1.5"
        yield share(f"{what}: called degraded", [bool(alarms) for alarms, _ in seen], most=0.07)
        yield average(f"{what}: fresh evaluations a run", [2 * asked for _, asked in seen])
    for what in ("fall of 10, n = 128", "step of 10, n = 64"):
        case = FALLS[what][0]
        name = f"settled: {case.key}, {runs}"
        seen = kept(name, lambda c=case: [_settled(c, r) for r in range(runs)])  # type: ignore[misc]
        yield share(f"{what}: seen", [any(t > case.peak for t in alarms) for alarms, _ in seen])


def _settled(case: Case, run: int) -> tuple[list[int], int]:
    seen = measure.watch(case, run, confirm=True)
    return seen.alarms, len(seen.asked)


def second_judge(runs: int, kept: Kept) -> Iterator[Row]:
    """A second judge in healthy runs, n = 128, jitter 1.5 common to both: what is said of it."""
    name = f"second judge: {PROMPTS} prompts, jitter 1.5, {runs}"
    seen = kept(name, lambda: [sorted(_opinions(flat(PROMPTS, 0.015), r)) for r in range(runs)])
    yield share("anything", [bool(s) for s in seen], most=0.07)
    yield share("divergence", ["divergence" in s for s in seen], most=0.07)


def _opinions(case: Case, run: int) -> set[str]:
    rng = case.rng(run)
    rates = case.truth(rng)
    one, two = (case.scores(rates, rng) for _ in range(2))
    judges = {"": one, "gold/": SHARED * one + np.sqrt(1.0 - SHARED**2) * two}
    points: list[EvalPoint] = []
    memories: dict[str, Memory] = {}
    found: set[str] = set()
    for t in range(len(rates)):
        values = {}
        for prefix, table in judges.items():
            values[f"{prefix}reward"] = table[t]
            values[f"{prefix}win_rate"] = (table[t] > 0).astype(float)
            values[f"{prefix}win_prob"] = expit(table[t])
        points.append(EvalPoint(step=t, values=values))
        said = second_opinions(
            points, metric="win_prob", horizon=len(rates), temperature=1.0, memories=memories
        )
        found |= {signal.name for signal in said}
    return found


def text_drifts(runs: int, kept: Kept) -> Iterator[Row]:
    """Text metrics that are said to have moved where they only jitter (points, or per cent of them)."""
    for n in (64, 256):
        for jitter in (0.0, 0.005, 0.01, 0.015, 0.03):
            name = f"drifts: n {n}, jitter {jitter}, {runs}"
            seen = kept(name, lambda m=n, j=jitter: [sorted(drifting(m, j, r)) for r in range(runs)])  # type: ignore[misc]
            yield share(f"n = {n}, jitter {100 * jitter:g}: any", [bool(s) for s in seen], most=0.07)
            told = sorted({x for s in seen for x in s})
            for metric in told:
                yield share(f"n = {n}, jitter {100 * jitter:g}: {metric}", [metric in s for s in seen])


def drifting(n: int, jitter: float, run: int) -> set[str]:
    """Names of the text metrics that are said to have moved."""
    rng = np.random.default_rng([crc32(b"drifts"), n, run])
    t = simulation.EVALUATIONS
    made = {m.name: _texts(m, t, n, jitter, rng) for m in WATCHED}
    points: list[EvalPoint] = []
    found: set[str] = set()
    for s in range(t):
        values = {name: table[s] for name, table in made.items()}
        metrics = {name: stats.mean(row) for name, row in values.items()}
        points.append(EvalPoint(step=s, metrics=metrics, values=values))
        found |= {signal.name for signal in drift(points, horizon=t)}
    return found


def _texts(metric: Metric, t: int, n: int, jitter: float, rng: np.random.Generator) -> Array:
    """``(t, n)`` of a text metric whose level only jitters; a prompt keeps much of its own."""
    usual, moved = USUAL[metric.name], jitter * rng.normal(size=(t, 1))
    own = rng.normal(size=n)
    noise = np.sqrt(_STAYS) * own + np.sqrt(1.0 - _STAYS) * rng.normal(size=(t, n))
    if metric.relative:
        found: Array = usual * (1.0 + moved) * np.exp(0.5 * noise - 0.125)
        return found
    level = np.clip(usual + moved, 0.0, 1.0)
    if metric.kind == "rate":
        edge = np.quantile(rng.normal(size=100_000), 1.0 - level[:, 0])[:, None]
        return (noise > edge).astype(float)
    return np.clip(level + 0.08 * noise, 0.0, 1.0)
