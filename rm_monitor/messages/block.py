"""The block at an alarm, and the parts of it that other places say too: short, and true in every word."""

from __future__ import annotations

import math

from rm_monitor.messages.numbers import at_steps, between, label, number, points, prompts
from rm_monitor.text.escape import for_terminal
from rm_monitor.types import Update, Verdict

__all__ = ["INCLUDED", "alarm", "certain", "from_to", "healthy_runs", "one_in"]

INCLUDED = 0.015  # points of win rate between checkpoints up to which the rate of false alarms was measured
_LEAST = 0.001  # less is no amount that a person would say


def alarm(update: Update) -> str:
    """The block shown once when the state changes; also the text of alerts. The rest is on the page."""
    v, metric = update.verdict, update.metric
    lines = [f"rm_monitor {v.state.upper()} at step {v.step}: {_than(v)}."]
    if v.state == "recovered":
        known = v.change is not None and math.isfinite(v.change.low)
        change = f"a change {between(v.change, metric)}" if known and v.change is not None else ""
        size = ", ".join(part for part in (from_to(v, metric), change) if part)
    else:
        size = "; ".join(part for part in (from_to(v, metric), certain(v, metric)) if part)
    if size:
        lines.append(f"  {size[0].upper()}{size[1:]}.")
    if v.state in ("degraded", "warned"):
        lines.append(f"  {healthy_runs(v)}")
    if update.best is not None:
        lines.append(
            f"  Best: step {update.best.step}, {for_terminal(update.best.checkpoint or 'not saved yet')}"
        )
    return "\n".join(lines)


def _than(v: Verdict) -> str:
    best = "the best" if v.best is None else f"step {v.best.step}"
    before = at_steps(v.against) if v.against else best
    if v.state == "degraded":
        return (
            f"a collapse, far worse than {before}: stop and look" if v.collapsed else f"worse than {before}"
        )
    if v.state == "warned":
        return f"perhaps worse than {before}"
    if v.best is None or v.best.step == v.step:
        return "the best so far"
    return f"as good as {best}, the best, as far as {prompts(v.n) if v.n else 'these prompts'} can tell"


def from_to(v: Verdict, metric: str) -> str:
    """How the headline metric went, from the best to here; empty where one of them is unknown.

    Example:
        >>> from rm_monitor.types import Best, Estimate
        >>> best = Best(step=120, value=Estimate(0.568, 0.5, 0.63, 64))
        >>> now = Verdict(step=220, value=Estimate(0.149, 0.09, 0.24, 64), best=best, against=(120,))
        >>> from_to(now, "win_prob")
        'Win probability 56.8% -> 14.9%'
    """
    if v.value is None or v.best is None or v.best.step == v.step:
        return ""
    if not (math.isfinite(v.value.value) and math.isfinite(v.best.value.value)):
        return ""
    name = label(metric)
    then = "" if v.against in ((), (v.best.step,)) else f" at step {v.best.step}"
    before, now = number(v.best.value.value, metric), number(v.value.value, metric)
    return f"{name[0].upper()}{name[1:]} {before}{then} -> {now}"


def certain(v: Verdict, metric: str) -> str:
    """How much of a fall is sure, rounded down.

    The bound of the alarm is of the score that the alarm looks at: how often answers win against the run's
    own answers. A reader takes it for the metric that stands beside it, so it is said only as far as the
    paired interval of that metric bears it out too, and else with what it is of.
    """
    if v.drop is None:
        return ""
    if math.isfinite(v.drop.high):
        return "fresh prompts confirm it"
    if math.isnan(v.drop.low):
        return ""  # only the memory of an alarm holds the state: no test fired here
    fell = -v.change.high if v.change is not None and metric != "reward" else math.nan
    if v.drop.low >= _LEAST and fell >= _LEAST:
        return f"at least {_down(min(v.drop.low, fell))} certain"
    if v.drop.low >= _LEAST:
        return f"at least {_down(v.drop.low)} certain, counted against the run's own earlier answers"
    return "how much is not certain"


def _down(share: float) -> str:
    """Points, rounded down, so that "at least" is true; with its verb."""
    size = 100 * share
    if size >= 2:
        return f"{math.floor(size + 1e-9)} points are"
    tenths = math.floor(10 * size + 1e-9) / 10
    return f"{tenths:.1f} point is" if tenths == 1.0 else f"{tenths:.1f} points are"


def healthy_runs(v: Verdict) -> str:
    """How often chance says so, and under which condition that holds."""
    often = one_in(v.false_alarms)
    included = (
        f" (ups and downs of {points(INCLUDED)} included)"
        if math.isfinite(v.jitter)
        else " if checkpoints do not go up and down by themselves"
    )
    if v.state == "warned":
        return f"{often} healthy runs warns once{included}. Wait for the next evaluation before acting."
    return f"{often} healthy runs raises this once{included}."


def one_in(rate: float) -> str:
    """A rate as people say it.

    Example:
        >>> one_in(0.05), one_in(0.07)
        ('1 in 20', 'About 1 in 14')
    """
    many = round(1.0 / rate)
    return f"1 in {many}" if abs(many * rate - 1.0) < 0.005 else f"About 1 in {many}"
