"""An evaluation as plain numbers under the names that every logger sees."""

from __future__ import annotations

import math

from rm_monitor.types import Update

__all__ = ["row"]

ABOUT_TRAINING = ("training_reward",)  # measured, and no cost of the evaluation


def row(update: Update) -> dict[str, float]:
    """``rm_monitor/<name>``, ``_low``, ``_high`` and what the curve says; python floats, nan where unknown.

    A failed evaluation has no numbers of its own: it is a gap. What the evaluation cost (seconds, tokens,
    cache hits) lies under ``rm_monitor/engine/``, out of the way.
    """
    values: dict[str, float] = {}
    for name, e in update.point.metrics.items():
        values[f"rm_monitor/{name}"] = float(e.value)
        values[f"rm_monitor/{name}_low"] = float(e.low)
        values[f"rm_monitor/{name}_high"] = float(e.high)
    headline = update.point.metrics.get(update.metric)
    values["rm_monitor/n"] = float(headline.n) if headline else 0.0
    values["rm_monitor/degraded"] = float(update.verdict.state == "degraded")
    values["rm_monitor/warned"] = float(update.verdict.state == "warned")
    values["rm_monitor/dip"] = float(update.verdict.dip)
    values["rm_monitor/jitter"] = float(update.verdict.jitter)
    flags = update.verdict.flags
    if any(name.endswith(("/reward", "/win_rate")) for name in update.point.metrics):
        values["rm_monitor/divergence"] = float("divergence" in flags)
    if "training_reward" in update.point.measured:
        values["rm_monitor/diverges_from_reward"] = float("training_reward" in flags)
    values["rm_monitor/failed"] = float(update.point.status == "failed")
    values["rm_monitor/coverage"] = (
        values["rm_monitor/n"] / len(update.prompts) if update.prompts else math.nan
    )
    values["rm_monitor/failed_in_a_row"] = float(update.verdict.failed)
    values["rm_monitor/failed_total"] = float(sum(p.status == "failed" for p in update.curve))
    best = update.best
    values["rm_monitor/best_step"] = math.nan if best is None else float(best.step)
    if best is not None:
        values[f"rm_monitor/best_{update.metric}"] = float(best.value.value)
    for name, x in update.point.measured.items():
        place = "rm_monitor" if name in ABOUT_TRAINING else "rm_monitor/engine"
        values[f"{place}/{name}"] = float(x)
    return values
