"""Many runs of a case, watched side by side: at which evaluations the alarm of the defaults is raised.

Whole runs of whole prompts, but thousands of them: pool scores, falls and their errors are reckoned for many
runs at once, and what chance would show is taken from a few other runs of the same case (`_lent`) instead of
each run's own residuals. What a run says of its jitter, the budgets and the decision are the shipped code.
`tests/test_benchmarks.py` holds the numbers to the detector's, and the table `lent` the alarms.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from benchmarks.cases import Case
from benchmarks.kept import Kept
from benchmarks.simulation import Array
from rm_monitor.stats.bends import Sizes, between, expected, sizes
from rm_monitor.stats.detector import Detector
from rm_monitor.stats.healthy import ALLOWANCE
from rm_monitor.stats.readings import Readings
from rm_monitor.stats.spending import Bar, Budget, spent_by
from rm_monitor.stats.windows import Family, family

__all__ = ["ALPHA", "FEWER", "HORIZONS", "alarms", "own_alarms"]

ALPHA, MIN_DROP = 0.05, 0.02
REPLICATES = 4_000  # as shipped
FEWER = 1_500  # where a detector is asked itself: a noisier critical value, and less to wait for
HORIZONS = {"known": True, "unknown": False}
_TOGETHER = 25  # runs side by side
_DONORS = 4

Singles = NDArray[np.float32]
Alarms = list[dict[str, list[int]]]  # of each run: evaluations, for each horizon
Bars = list[Mapping[str, Bar]]  # of each evaluation, for each horizon


def alarms(case: Case, runs: int, kept: Kept) -> Alarms:
    """Evaluations at which each run of a case raises the alarm, its length known and unknown.

    Args:
        case: The kind of run; no score is missing.
        runs: How many.
        kept: Where the cell is kept.
    """
    return kept(f"alarms: {case.key}, {runs} runs", lambda: _watched(case, runs))  # type: ignore[no-any-return]


def own_alarms(case: Case, runs: int, kept: Kept, **rules: float) -> Alarms:
    """The same by the shipped detector alone, the length known: slow, and for any case and tolerance."""

    def measured() -> Alarms:
        found: Alarms = []
        for run in range(runs):
            detector = Detector(
                pool=not case.outcomes,
                horizon=len(case.rates),
                replicates=FEWER,
                **rules,  # type: ignore[arg-type]
            )
            looks = [detector.add(row)[0] for row in case.run(run)]
            found.append({"known": [t for t, look in enumerate(looks) if look.flagged]})
        return found

    told = "".join(f", {name} {value:g}" for name, value in rules.items())
    return kept(f"own alarms: {case.key}{told}, {runs} runs", measured)  # type: ignore[no-any-return]


def _watched(case: Case, runs: int) -> Alarms:
    lent = _lent(replace(case, jitter=0.0), runs)
    found: Alarms = []
    for first in range(0, runs, _TOGETHER):
        numbers = range(first, min(first + _TOGETHER, runs))
        grown = Growing(np.array([case.run(r) for r in numbers]), pool=not case.outcomes)
        here: Alarms = [{h: [] for h in HORIZONS} for _ in numbers]
        for t in range(len(case.rates)):
            seen = grown.add()
            for h in HORIZONS if seen is not None else ():
                bars = [lent[r % _DONORS][t][h] for r in numbers]
                for i in grown.alarming(seen, bars):
                    here[i][h].append(t)
        found += here
    return found


_LENT: dict[str, list[Bars]] = {}  # of the last case: cells that differ by jitter alone share it


def _lent(case: Case, runs: int) -> list[Bars]:
    """What chance shows in a few runs that are not watched."""
    key = f"{case.key}, {runs}"
    if key not in _LENT:
        _LENT.clear()
        _LENT[key] = [_bars(case, run) for run in range(runs, runs + _DONORS)]
    return _LENT[key]


def _bars(case: Case, run: int) -> Bars:
    """What chance shows at each evaluation of one run."""
    readings, t = Readings(pool=not case.outcomes, replicates=REPLICATES), len(case.rates)
    budgets = {h: Budget(len(readings.prior.size), REPLICATES, ALPHA) for h in HORIZONS}
    found: Bars = []
    for look, row in enumerate(case.run(run)):
        read = readings.add(row)
        if read is None or not read.tops:
            found.append({})
            continue
        spent = {h: spent_by(look, alpha=ALPHA, horizon=t if HORIZONS[h] else None) for h in HORIZONS}
        found.append({h: budget.bar(read.healthy, spent[h]) for h, budget in budgets.items()})
    return found


@dataclass(frozen=True)
class Seen:
    """The falls of many runs at one evaluation.

    Attributes:
        of: The windows.
        drop: ``(r, k)``.
        z: ``(r, k)`` studentised; minus infinity where there is none.
    """

    of: Family
    drop: Array
    z: Array


class Growing:
    """Runs that grow together, without a gap.

    Args:
        scores: ``(r, t, n)`` of whole runs.
        pool: They are raw rewards and are compared by pool score; False: outcomes.
    """

    def __init__(self, scores: Array, *, pool: bool = True) -> None:
        self._scores = scores.astype(np.float32)
        self._pool = pool
        self._won = np.zeros_like(self._scores)  # sums over the evaluations so far
        self._t = 0
        self._known: list[tuple[Array, Array]] = []  # values and covariances at the last evaluations

    def add(self) -> Seen | None:
        """What the next evaluation shows; None at the first."""
        t = self._t = self._t + 1
        rows = self._scores[:, :t]
        if self._pool:
            won = expit(rows[:, -1:] - rows)
            self._won[:, : t - 1] += 1.0 - won[:, :-1]
            self._won[:, t - 1] = won.sum(axis=1)
            rows = self._won[:, :t] / np.float32(t)
        n = rows.shape[2]
        value = rows.mean(axis=2, dtype=np.float64)
        influence = rows - rows.mean(axis=1, keepdims=True)
        influence -= influence.mean(axis=2, keepdims=True)
        squares = influence @ influence.transpose(0, 2, 1)
        covariance = squares.astype(np.float64) / (n * (n - 1.0))
        self._known = [*self._known[-4:], (value, covariance)]
        if t < 2:
            return None
        of = family(t)
        contrast = _contrasts(of)
        drop = value @ contrast.T
        sampling = np.einsum("rkt,kt->rk", contrast @ covariance, contrast)
        present = np.array([value[:, -w:].mean(axis=1) for w in range(1, int(of.width.max()) + 1)]).T
        last = drop + present[:, of.width - 1] - value[:, -1:]
        z = np.where(last >= drop / 2.0, drop / np.sqrt(sampling + ALLOWANCE**2 * of.spread), -np.inf)
        return Seen(of, drop, z)

    def alarming(self, seen: Seen, bars: Sequence[Bar]) -> list[int]:
        """Which of the runs raise the alarm at these bars."""
        found = []
        widths = sorted(set(seen.of.width.tolist()))
        for run, bar in enumerate(bars):
            z = seen.z[run]
            tops = [
                int(rows[np.argmax(z[rows])]) for rows in (np.flatnonzero(seen.of.width == w) for w in widths)
            ]
            if not (bar.chance(z[tops]) <= bar.rooms[:, None]).any():
                continue  # not by any size of jitter, so by no average of them either
            tails = bar.p(z[tops], [self.known(run, w).weight for w in widths])
            told = [k for k, tail in zip(tops, tails, strict=True) if tail <= ALPHA]
            if told and seen.drop[run, max(told, key=lambda k, z=z: z[k])] >= MIN_DROP:  # type: ignore[misc]
                found.append(run)
        return found

    def known(self, run: int, width: int) -> Sizes:
        """What a run says of its jitter before its last window of some width."""
        value, covariance = (x[run] for x in self._known[-width])
        axis, root = np.linalg.eigh(covariance)
        shares = root * np.sqrt(np.maximum(axis, 0.0))
        return sizes(value[:-1], shares[:-1], expected(between(shares)))


def _contrasts(of: Family) -> Array:
    """``(k, t)`` weights of each comparison."""
    found = np.zeros((len(of.width), of.t))
    for row, first, width in zip(found, of.first, of.width, strict=True):
        row[first : first + width] += 1.0 / width
        row[of.t - width :] -= 1.0 / width
    return found
