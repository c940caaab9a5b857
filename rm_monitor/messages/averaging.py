"""What is said of an average of checkpoints, held against the best."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from rm_monitor.messages.numbers import between, interval, label, number, points
from rm_monitor.types import Estimate

__all__ = ["Standing", "averaged"]

Standing = Literal["better", "tied", "worse", "unknown"]


def averaged(
    steps: Sequence[int],
    best: int,
    standing: Standing,
    *,
    value: Estimate,
    change: Estimate,
    metric: str = "win_prob",
    kept: str | None = None,
) -> str:
    """How the average of some steps stands against the best, and where it lies.

    Example:
        >>> found, change = Estimate(0.64, 0.6, 0.68, 128), Estimate(0.02, 0.005, 0.035, 128)
        >>> averaged([400, 600], 600, "better", value=found, change=change, kept="out/a").splitlines()[0]
        'The average of steps 400 and 600 is better than step 600, the best.'
    """
    names = f"{', '.join(map(str, steps[:-1]))} and {steps[-1]}"
    claim = {
        "better": f"is better than step {best}, the best",
        "tied": f"is tied with step {best}, the best",
        "worse": f"is worse than step {best}, the best",
        "unknown": f"cannot be compared with step {best}, the best: too few prompts were scored",
    }[standing]
    lines = [f"The average of steps {names} {claim}."]
    if math.isfinite(change.value):
        way = "below" if change.value < 0 else "above"
        lines.append(
            f"The {label(metric)} is {number(value.value, metric)} ({interval(value, metric)}), "
            f"{points(change.value, metric)} {way} it (a change {between(change, metric)})."
        )
    lines.append(f"Kept: {kept}" if kept else "It is not kept.")
    return "\n".join(lines)
