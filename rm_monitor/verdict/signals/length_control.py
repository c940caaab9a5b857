"""How much of a curve is length? The whole run's points -> win probability at the references' lengths."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rm_monitor import stats
from rm_monitor.curve.curve import Curve
from rm_monitor.stats import LengthControl
from rm_monitor.types import EvalPoint, ReferenceSet, Signal

__all__ = ["LengthControl", "length_control", "signal"]


def length_control(
    curve: Sequence[EvalPoint], references: ReferenceSet | None, *, temperature: float | None, seed: int = 0
) -> LengthControl | None:
    """See `rm_monitor.stats.length_controlled`; the last row is the last point.

    Lengths are in characters, for a reference that was given as text has no tokens. None where the last
    point has no margin on a scale that has a probability.
    """
    if references is None or temperature is None:
        return None
    rows = Curve(curve).holding("margin", "characters")
    own = np.array([len(c.text) for c in references.completions], dtype=np.float64)
    if not rows or rows[-1] is not curve[-1] or any(p.values["margin"].shape != own.shape for p in rows):
        return None
    return stats.length_controlled(
        np.array([p.values["margin"] for p in rows]),
        np.array([p.values["characters"] for p in rows]),
        own,
        temperature=temperature,
        seed=seed,
    )


def signal(control: LengthControl, curve: Sequence[EvalPoint]) -> Signal | None:
    """Length explains part of the gain since the first point, beyond chance and beyond 2 points."""
    if not control.notable:
        return None
    return Signal(
        name="length_explains",
        about="length",
        step=curve[-1].step,
        against=(curve[0].step,),
        change=control.explained,
        n=control.explained.n,
    )
