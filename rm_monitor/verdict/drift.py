"""Drift: text metrics that moved since the start, further than chance and further than matters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rm_monitor import stats
from rm_monitor.curve.curve import Curve
from rm_monitor.curve.metrics import WATCHED
from rm_monitor.stats.bends import LONGEST, of_rows, reach
from rm_monitor.stats.spending import spent_by
from rm_monitor.types import Estimate, EvalPoint, Signal

__all__ = ["drift"]

ALPHA = 0.05  # of a run, for all metrics and evaluations together
CUT_OFF = (
    0.30  # share of answers that the limit cuts: from here on it is named at once, whether or not it moved
)
CONSTANT = 0.50  # share of answers that other prompts got too; of 56 models only gamed ones had over 0.03


def drift(
    curve: Sequence[EvalPoint],
    *,
    usual: float = 0.0,
    limit: str = "the token limit",
    horizon: int | None = None,
    alpha: float = ALPHA,
    clusters: NDArray[Any] | None = None,
) -> list[Signal]:
    """Text metrics of the last point that moved since the first one of its segment, prompt by prompt.

    Each look at each metric gets its part of ``alpha`` (Bonferroni over metrics, the alarm's spending over
    looks), so that all intervals shown in a run hold together with probability ``1 - alpha``; and the change
    must be large enough to matter. Checkpoints differ for no lasting reason in how they write, too: what the
    metric's own curve says of that, as for the alarm, widens the interval. A policy that gives most prompts
    an answer that others get too is named at once, whether or not it moved, unless such answers are usual
    here (yes or no); so is a limit that cuts off many answers, which is the commonest of wrong settings.

    Args:
        curve: Points in order of step.
        usual: Share of duplicates among answers that are known to be good, such as given references.
        limit: What cuts answers off, in words.
        horizon: Evaluations the run will have; None: unknown.
        alpha: For all metrics and looks of a run.
        clusters: ``(n,)`` labels of prompts that belong together.
    """
    points = Curve(curve).holding()
    if not points or points[-1] is not curve[-1]:
        return []
    many = list(_constant(points[-1], usual, limit))
    known = {s.name for s in many}
    return [*many, *(s for s in _moved(points, horizon, alpha, clusters) if s.name not in known)]


def _constant(point: EvalPoint, usual: float, limit: str) -> Iterator[Signal]:
    cut = point.metrics.get("truncated")
    if cut is not None and cut.low > CUT_OFF:
        yield Signal(name="truncated", about=limit, step=point.step, change=cut, now=cut.value, n=cut.n)
    share = point.metrics.get("duplicates")
    if share is not None and share.low > max(CONSTANT, (1.0 + usual) / 2.0):
        yield Signal(
            name="duplicates", about="most answers", step=point.step, change=share, now=share.value, n=share.n
        )


def _moved(
    points: Sequence[EvalPoint], horizon: int | None, alpha: float, clusters: NDArray[Any] | None
) -> Iterator[Signal]:
    first, last, look = points[0], points[-1], len(points) - 1
    if look == 0:
        return
    before, now = (spent_by(i, alpha=alpha / len(WATCHED), horizon=horizon) for i in (look - 1, look))
    level = 1.0 - (now - before)
    for metric in WATCHED:
        name = metric.name
        a, b = first.values.get(name), last.values.get(name)
        if a is None or b is None or a.shape != b.shape or metric.worth is None:
            continue
        change = stats.paired_change(a, b, level=level, clusters=clusters)
        unit = abs(first.metrics[name].value) if metric.relative else 1.0
        if not abs(change.value) >= metric.worth * unit or not (change.low > 0 or change.high < 0):
            continue
        change = _widened(change, level, points, name, unit, clusters)
        if change.low > 0 or change.high < 0:
            yield Signal(
                name=name,
                about=name,
                step=last.step,
                against=(first.step,),
                change=change,
                before=first.metrics[name].value,
                now=last.metrics[name].value,
                n=change.n,
                false_alarms=alpha,
            )


def _widened(
    change: Estimate,
    level: float,
    points: Sequence[EvalPoint],
    name: str,
    unit: float,
    clusters: NDArray[Any] | None,
) -> Estimate:
    """The interval of a change between two checkpoints that each have ups and downs of their own."""
    rows = [p.values[name] for p in points[-LONGEST - 1 :] if name in p.values]
    rows = [row for row in rows if row.shape == rows[-1].shape]
    known = of_rows(np.array(rows) / unit, clusters=clusters)
    half = unit * reach((change.high - change.low) / 2.0 / unit, level, known)
    return Estimate(change.value, change.value - half, change.value + half, change.n)
