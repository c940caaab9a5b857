"""What is said before a run of what it will be able to see."""

from __future__ import annotations

import math

from rm_monitor.messages.block import INCLUDED, one_in
from rm_monitor.messages.numbers import points, prompts
from rm_monitor.stats import SPREAD, Plan, Spread, as_win_rate
from rm_monitor.types import Estimate

__all__ = ["cost", "enough_prompts", "foreseen", "jitter_shown", "planned", "seen_by", "spread_shown"]


def seen_by(plan: Plan) -> str:
    """The smallest fall that a run shows, in a clause.

    Example:
        >>> told = Plan(prompts=128, evaluations=20, visible=0.081, error=0.03, jitter=0, false_alarms=0.05)
        >>> seen_by(told)
        'a lasting fall of 10.0 points is seen 8 times in 10'
    """
    return f"a lasting fall of {points(as_win_rate(plan.visible))} is seen 8 times in 10"


def foreseen(plan: Plan | None, *, n: int, units: int, is_guess: bool, knows_jitter: bool) -> str:
    """One line: how many prompts and evaluations, what they show, how often they cry wolf.

    Example:
        >>> told = Plan(prompts=128, evaluations=20, visible=0.081, error=0.03, jitter=0, false_alarms=0.05)
        >>> foreseen(told, n=128, units=128, is_guess=True, knows_jitter=True).split("; ")[0]
        '128 prompts, 20 evaluations or so: a lasting fall of 10.0 points is seen 8 times in 10'
    """
    asked = prompts(n) if units == n else f"{prompts(n)} in {units} clusters"
    if plan is None:
        return f"{asked}: below 10 that stand alone no fall can be called"
    count = f"{plan.evaluations} evaluations{' or so' if is_guess else ''}"
    condition = f" ({_included()})" if knows_jitter else " if checkpoints do not go up and down by themselves"
    often = one_in(plan.false_alarms).replace("About", "about")
    return f"{asked}, {count}: {seen_by(plan)}; {often} healthy runs raises the alarm once{condition}"


def planned(plan: Plan, *, enough: int) -> str:
    """A plan as a person reads it.

    Args:
        plan: What was asked.
        enough: Prompts from which twice as many show hardly a smaller fall.
    """
    lines = [
        f"{prompts(plan.prompts)}, {plan.evaluations} evaluations: {seen_by(plan)}.",
        f"{one_in(plan.false_alarms)} healthy runs raises the alarm once ({_included()}).",
        f"Between checkpoints far apart prompts alone leave an error of {points(as_win_rate(plan.error))}.",
        enough_prompts(plan, enough),
    ]
    return "\n".join(lines)


def enough_prompts(plan: Plan, enough: int) -> str:
    """When more prompts stop helping, and what helps then."""
    jitter = points(as_win_rate(plan.jitter))
    if plan.prompts < enough:
        return f"More prompts help up to about {enough} (ups and downs of {jitter})."
    more = "more evaluations help" if plan.jitter else "nothing but a larger fall is left to see"
    return f"With ups and downs of {jitter}, more prompts than {enough} hardly help; {more}."


def spread_shown(spread: Spread, *, where: str) -> str:
    """What was measured of how much two checkpoints differ prompt by prompt.

    Args:
        spread: Shares of the pool score.
        where: What it was measured on, as a sentence begins.

    Example:
        >>> spread_shown(Spread(0.14, 0.07), where="Checkpoints of out").split(" (")[0]
        'Checkpoints of out differ by 14 points of 100 from prompt to prompt, neighbours by 7'
    """
    near = f", neighbours by {100 * spread.near:.0f}" if math.isfinite(spread.near) else ""
    far = f"{100 * spread.far:.0f} points of 100 from prompt to prompt"
    usual = f"assumed otherwise: {100 * SPREAD:.0f}; a run that changes more differs more"
    return f"{where} differ by {far}{near} ({usual})."


def jitter_shown(e: Estimate, *, where: str) -> str:
    """What a run shows of its ups and downs.

    Example:
        >>> jitter_shown(Estimate(0.0081, 0.0, 0.0162, 30), where="out")
        'out goes up and down by 1.0 point by itself (between 0.0 and 2.0, by 30 evaluations).'
    """
    size, low, high = (as_win_rate(x) for x in e[:3])
    band = f"between {100 * low:.1f} and {100 * high:.1f}, by {e.n} evaluations"
    return f"{where} goes up and down by {points(size)} by itself ({band})."


def cost(seconds: float, evaluations: int) -> str:
    """What evaluations take.

    Example:
        >>> cost(66.0, 20), cost(4.0, 20)
        ('One evaluation takes about 66 s, all 20: 22 min.', 'One evaluation takes about 4 s, all 20: 80 s.')
    """
    return f"One evaluation takes about {_time(seconds)}, all {evaluations}: {_time(evaluations * seconds)}."


def _time(seconds: float) -> str:
    if seconds >= 7200:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 60:.0f} min" if seconds >= 120 else f"{seconds:.0f} s"


def _included() -> str:
    return f"ups and downs of {points(INCLUDED)} included"
