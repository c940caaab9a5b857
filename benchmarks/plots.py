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
from rm_monitor import stats

INK, BLUE, RED, AMBER, GREY = "#1b1f24", "#0063b1", "#c4271b", "#9a6700", "#8c959f"
_SHOWN = 5  # a run in which warnings come before alarms
Tables = Mapping[str, Sequence[Mapping[str, Any]]]


def draw(folder: Path, tables: Tables) -> None:
    """Write what the measured tables allow."""
    folder.mkdir(parents=True, exist_ok=True)
    style()
    _save(_one_run, folder / "statistics-run.svg", (8.0, 4.6))
    if {"false_alarms", "rules_of_thumb"} <= tables.keys():
        _save(lambda axes: _alarms(axes, tables), folder / "statistics-false-alarms.svg", (8.0, 3.2))
    if {"power", "confirm_on_warn"} <= tables.keys():
        _save(lambda axes: _power(axes, tables), folder / "statistics-power.svg", (8.0, 3.6))


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


def _alarms(axes: Axes, tables: Tables) -> None:
    """How often a healthy run is called degraded, by this alarm and by rules of thumb."""
    rows = [r for r in tables["false_alarms"] if r["what"].startswith("healthy") and ":" not in r["what"]]
    rows = [*rows, *tables["rules_of_thumb"]]
    y = np.arange(len(rows))[::-1]
    value = 100 * np.array([r["value"] for r in rows])
    error = 200 * np.array([r["error"] for r in rows])
    ours = np.array([r in tables["false_alarms"] for r in rows])
    axes.barh(y, value, xerr=error, color=np.where(ours, BLUE, GREY), ecolor=INK, height=0.65)
    axes.axvline(5, color=RED, lw=1, ls="--")
    axes.annotate("5 %, as stated", (5, y[0] + 0.6), xytext=(4, 0), textcoords="offset points", color=RED)
    axes.set(
        yticks=y, xlim=(0, 100), xlabel="healthy runs called degraded at least once in 20 evaluations, %"
    )
    axes.set_yticklabels([r["what"] for r in rows], fontsize=9)


def _power(axes: Axes, tables: Tables) -> None:
    """How often a fall is seen: the alarm, with fresh prompts."""
    names = [r["what"] for r in tables["power"] if ":" not in r["what"] and "horizon" not in r["what"]]
    y = np.arange(len(names))[::-1]
    kinds = (
        ("power", "alarm", BLUE),
        ("confirm_on_warn", "with fresh prompts", "#00806a"),
    )
    for offset, (table, name, color) in zip((0.15, -0.15), kinds, strict=True):
        found = {r["what"]: r for r in tables[table]}
        at = [i for i, what in enumerate(names) if what in found]
        value = [100 * found[names[i]]["value"] for i in at]
        error = [200 * found[names[i]]["error"] for i in at]
        axes.barh(y[at] + offset, value, xerr=error, height=0.24, color=color, ecolor=INK, label=name)
    axes.set(yticks=y, xlim=(0, 100), xlabel="falling runs that raise the alarm within 11 evaluations, %")
    axes.set_yticklabels(names, fontsize=9)
    axes.legend(frameon=False, fontsize=9, loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=3)
