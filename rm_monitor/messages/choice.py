"""Which checkpoint to use: the best, those that tie with it, what another choice costs. One voice for all."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rm_monitor.messages.numbers import interval, number, points
from rm_monitor.text.escape import for_terminal
from rm_monitor.types import Best, Verdict

__all__ = ["confirmed", "named", "others", "ties", "todo"]

_NAMED = 3  # more steps than these are counted


def todo(verdict: Verdict, best: Best | None, *, metric: str = "win_prob") -> str:
    """What to do."""
    if best is None:
        return "No checkpoint is on disk yet."
    where = f", kept in {for_terminal(best.checkpoint)}" if best.checkpoint else ""
    start = (
        f"Use step {best.step}{where}."
        if verdict.state == "degraded"
        else f"Best so far: step {best.step}{where}."
    )
    return f"{start} {others(verdict, best, metric=metric)}".strip()


def others(verdict: Verdict, best: Best, *, metric: str = "win_prob") -> str:
    """What to know of the checkpoints beside the best on disk; nothing while there is only one.

    Example:
        >>> from rm_monitor import Estimate
        >>> top = Best(step=0, value=Estimate(0.52, 0.48, 0.56, 64))
        >>> kept = Best(step=8, value=Estimate(0.318, 0.285, 0.353, 64))
        >>> others(Verdict(looks=5, best=top), kept)
        'Step 0 was better (52.0%), but its weights are not on disk.'
    """
    if verdict.looks < 2:
        return ""
    top = verdict.best  # of all that was judged, while `best` was chosen among what lies on disk
    if top is None or top.step == best.step:
        return ties(best)
    if best.step in top.tied:
        return f"{ties(best)} Step {top.step} leads by a hair, but its weights are not on disk."
    return f"Step {top.step} was better ({number(top.value.value, metric)}), but its weights are not on disk."


def ties(best: Best) -> str:
    """Which other checkpoints are as good as the best, as far as the prompts can tell.

    Example:
        >>> from rm_monitor import Estimate
        >>> found = Estimate(0.6, 0.5, 0.7, 64)
        >>> ties(Best(step=800, value=found, tied=(400,), earliest=400, earliest_cost=0.02))
        'Tied with it: step 400. It is earlier and costs at most 2.0 points against whichever is best.'
        >>> ties(Best(step=800, value=found))
        'No other checkpoint comes close.'
    """
    if not best.tied:
        return "No other checkpoint comes close."
    return f"Tied with it: {named(best.tied)}.{_costs(best)}"


def named(steps: Sequence[int]) -> str:
    """Steps, or how many between which.

    Example:
        >>> named([8]), named([40, 8]), named(range(40, 90, 10))
        ('step 8', 'steps 8 and 40', '5 checkpoints from step 40 to step 80')
    """
    known = sorted(steps)
    if len(known) == 1:
        return f"step {known[0]}"
    if len(known) <= _NAMED:
        return f"steps {', '.join(map(str, known[:-1]))} and {known[-1]}"
    return f"{len(known)} checkpoints from step {known[0]} to step {known[-1]}"


def _costs(best: Best) -> str:
    """What the earliest of the tied costs at most."""
    if best.earliest is None or best.earliest == best.step or not math.isfinite(best.earliest_cost):
        return ""
    size = points(math.ceil(1000 * best.earliest_cost - 1e-9) / 1000)  # rounded up: it is a bound
    if best.tied == (best.earliest,):
        return f" It is earlier and costs at most {size} against whichever is best."
    return f" Step {best.earliest}, the earliest, costs at most {size} against whichever is best."


def confirmed(best: Best, live: int, *, metric: str = "win_prob", answered: int = 0) -> str:
    """What held-out prompts say of the best of a run that is over.

    Example:
        >>> from rm_monitor import Estimate
        >>> found = Best(step=80, value=Estimate(0.631, 0.58, 0.68, 128), tied=(90,))
        >>> confirmed(found, 90, answered=5).split("; ")[0]
        'Best on held-out prompts: step 80, 63.1% (58.0 to 68.0, 128 prompts), of the 5 that answered again'
    """
    said = "The run itself had said so too." if live == best.step else f"The run itself had said step {live}."
    return (
        f"Best on held-out prompts: step {best.step}, {number(best.value.value, metric)} "
        f"({interval(best.value, metric)}), of the {answered} that answered again; the value "
        f"is read where it was not chosen, so it does not flatter. {said} {ties(best)}"
    )
