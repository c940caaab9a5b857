"""What a plan says before a run."""

from __future__ import annotations

from rm_monitor.messages.numbers import points
from rm_monitor.stats import Plan

__all__ = ["POOL_PER_POINT", "planned", "seen_by"]

POOL_PER_POINT = 0.81  # points of pool score that a point of win rate is worth near one half


def seen_by(plan: Plan) -> str:
    """The smallest fall that a run shows, in a clause.

    Example:
        >>> told = Plan(prompts=128, evaluations=20, visible=0.081, error=0.03, jitter=0, false_alarms=0.05)
        >>> seen_by(told)
        'a lasting fall of 10.0 points of win rate is seen 8 times in 10'
    """
    return f"a lasting fall of {points(plan.visible / POOL_PER_POINT)} of win rate is seen 8 times in 10"


def planned(plan: Plan, *, enough: int) -> str:
    """A plan as a person reads it.

    Args:
        plan: What was asked.
        enough: Prompts from which twice as many show hardly a smaller fall.
    """
    rate = round(1.0 / plan.false_alarms)
    jitter = points(plan.jitter / POOL_PER_POINT)
    lines = [
        f"{plan.prompts} prompts, {plan.evaluations} evaluations: {seen_by(plan)}.",
        f"1 in {rate} healthy runs raises the alarm once (ups and downs of 1.5 points included).",
        f"Between two checkpoints prompts alone leave an error of {points(plan.error / POOL_PER_POINT)}.",
    ]
    if plan.prompts >= enough:
        more = "more evaluations help" if plan.jitter else "nothing but a larger fall is left to see"
        lines.append(f"With ups and downs of {jitter}, more prompts than {enough} hardly help; {more}.")
    else:
        lines.append(f"More prompts help up to about {enough} (ups and downs of {jitter}).")
    return "\n".join(lines)
