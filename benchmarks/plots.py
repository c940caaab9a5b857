"""The plots of docs/statistics.md, from the measured tables and from one run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from benchmarks import measure, simulation
from benchmarks.cases import Case
from benchmarks.jitter import FALLS, JITTERS, PROMPTS
from benchmarks.rows import Row
from rm_monitor import stats

INK, BLUE, RED, AMBER, GREY = "#1b1f24", "#0063b1", "#c4271b", "#9a6700", "#8c959f"
_SHOWN = 5  # a run in which warnings come before alarms
SHADES = ("#8fc1ec", "#4a97d8", "#0063b1", "#003a68")
Tables = Mapping[str, Sequence[Row]]


def draw(folder: Path, tables: Tables) -> None:
    """Write what the measured tables allow."""
    folder.mkdir(parents=True, exist_ok=True)
    style()
    _save(_one_run, folder / "statistics-run.svg", (8.0, 4.6))
    if "under_jitter" in tables:
        rows = {row.what: row for row in tables["under_jitter"]}
        _save(lambda axes: _alarms(axes, rows), folder / "statistics-false-alarms.svg", (8.0, 3.6))
    if "falls" in tables:
        found = {row.what: row for row in tables["falls"]}
        _save(lambda axes: _power(axes, found), folder / "statistics-power.svg", (8.0, 3.2))


def style() -> None:
    """How all plots look; the same input gives the same file."""
    plt.rcParams.update(
        {"svg.hashsalt": "rm_monitor", "svg.fonttype": "none", "font.size": 11, "axes.spines.top": False}
        | {"axes.spines.right": False, "axes.edgecolor": GREY, "text.color": INK, "axes.labelcolor": INK}
    )


def _save(paint: Any, path: Path, size: tuple[float, float]) -> None:
    figure, axes = plt.subplots(figsize=size, layout="constrained")
    paint(axes)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
    print(path)


def _one_run(axes: Axes) -> None:
    """A run of known truth: band, best, tie set, warnings and alarms."""
    case = Case(name="a run to look at", rates=simulation.fall(0.10), n=256)
    scores = case.scores(case.rates, case.rng(_SHOWN))
    levels = [stats.win_prob(row) for row in scores]
    value, low, high = (
        100 * np.array([getattr(e, name) for e in levels]) for name in ("value", "low", "high")
    )
    seen = measure.watch(case, _SHOWN)
    choice = stats.best(scores)
    t = np.arange(len(scores))
    axes.fill_between(t, low, high, color=BLUE, alpha=0.17, lw=0, label="95 % band of each point")
    axes.plot(t, value, "o-", color=BLUE, mfc="white", ms=5, lw=1.2, label="measured, 256 prompts")
    axes.plot(
        t, 100 * simulation.win_probabilities(case.rates), "--", color=INK, lw=1, zorder=1, label="the truth"
    )
    tied = [choice.index, *choice.tied]
    axes.plot(tied, value[tied], "o", color=BLUE, ms=5, label="cannot be told from the best")
    axes.plot(choice.index, value[choice.index], "*", color=INK, ms=14, label="best so far")
    floor = low.min() - 1.5
    for steps, mark, color, name in (
        ([s for s in seen.warnings if s not in seen.alarms], "v", AMBER, "warned"),
        (seen.alarms, "v", RED, "degraded"),
    ):
        face = "none" if name == "warned" else color
        axes.plot(steps, np.full(len(steps), floor), mark, color=color, mfc=face, ms=7, ls="", label=name)
    axes.axvline(case.peak, color=GREY, lw=0.8, ls=":")
    axes.annotate(
        "the truth begins to fall", (case.peak, high.max()), xytext=(6, 0), textcoords="offset points"
    )
    axes.set(xlabel="evaluation", ylabel="win probability, %", xticks=t[::2])
    axes.legend(frameon=False, fontsize=9, ncols=2, loc="lower left", bbox_to_anchor=(0.1, 0.08))


def _alarms(axes: Axes, rows: Mapping[str, Row]) -> None:
    """How often a healthy run of 20 evaluations is called degraded, by its jitter and its prompts."""
    points = 100 * np.array(JITTERS)
    for i, (n, color) in enumerate(zip(PROMPTS, SHADES, strict=True)):
        cells = [rows[f"20 evaluations, known, n = {n}, jitter {p:g}"] for p in points]
        value = 100 * np.array([row.value for row in cells])
        error = 200 * np.array([row.error for row in cells])
        axes.errorbar(
            points + 0.03 * (i - 1.5), value, error, fmt="o-", color=color, ms=5, lw=1.2, label=f"{n} prompts"
        )
    axes.axhline(5, color=RED, lw=1, ls="--")
    axes.annotate(
        "1 in 20, as stated for the mean", (0.0, 5), xytext=(4, 4), textcoords="offset points", color=RED
    )
    axes.set(xticks=points, ylim=(0, 12), xlabel="true ups and downs, points of win rate")
    axes.set_ylabel("healthy runs called degraded, %")
    axes.legend(frameon=False, fontsize=9, ncols=4, loc="upper left")


def _power(axes: Axes, rows: Mapping[str, Row]) -> None:
    """How often a fall is seen, with the length of the run known and unknown."""
    y = np.arange(len(FALLS))[::-1]
    for offset, more, name, color in (
        (0.18, "", "length known", BLUE),
        (-0.18, ", length unknown", "length unknown", SHADES[0]),
    ):
        cells = [rows[what + more] for what in FALLS]
        value, error = (100 * np.array([getattr(row, of) for row in cells]) for of in ("value", "error"))
        axes.barh(y + offset, value, xerr=2 * error, height=0.32, color=color, ecolor=INK, label=name)
    axes.set(yticks=y, xlim=(0, 100), xlabel="falling runs that raise the alarm within 11 evaluations, %")
    axes.set_yticklabels(list(FALLS), fontsize=9)
    axes.legend(frameon=False, fontsize=9, loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=2)
