"""What a verdict says: claim, size with its bound, what to do."""

from __future__ import annotations

import math

from rm_monitor.messages.numbers import at_steps, interval, label, number, points
from rm_monitor.messages.signals import is_grave, note
from rm_monitor.text.escape import for_terminal
from rm_monitor.types import Best, Verdict

__all__ = ["INCLUDED", "claim", "confirmed", "headline", "others", "reason", "ties", "todo", "why"]

INCLUDED = 0.015  # points of win rate between checkpoints up to which the rate of false alarms was measured


def reason(verdict: Verdict, *, metric: str = "win_prob") -> str:
    """What a person can act on: claim, size, and what else is grave."""
    grave = (note(s, metric=metric) for s in verdict.signals if is_grave(s))
    return " ".join(part for part in (headline(verdict), why(verdict, metric=metric), *grave) if part)


def headline(verdict: Verdict) -> str:
    """State and claim."""
    v, t = verdict, verdict.step
    if v.state == "degraded":
        if v.collapsed:
            return f"Degraded. Answers collapsed at step {t}: far worse than at {_before(v)}."
        return f"Degraded. Answers at step {t} are worse than at {_before(v)}."
    if v.state == "warned":
        return f"Warned. Answers at step {t} may be worse than at {_before(v)}."
    if v.state in ("improving", "steady"):
        seen = _seen_by(v)
        if v.state == "improving":
            return f"{seen} Step {t} is the best so far."
        return f"{seen} Answers at step {t} are not measurably worse than at {_best(v)}."
    if v.state == "recovered":
        return f"Recovered. Answers at step {t} are no longer measurably worse than at {_best(v)}."
    if v.state == "unknown":
        return (
            f"No verdict. The last {v.failed} evaluations failed."
            if v.failed > 1
            else "No verdict. The last evaluation failed."
        )
    if v.state == "saturated":
        share = number(v.value.value) if v.value else "Nearly all"
        return f"No verdict. {share} of comparisons are won: the references are too weak to see a fall."
    if v.looks > 1 and v.dip:
        return f"A dip. Answers at step {t} are lower than at {_best(v)}, as this run goes up and down."
    if v.looks > 1 and v.visible_drop == math.inf:
        return f"No verdict. {_few(v)}"
    if v.looks > 1:
        return f"Undecided. Answers at step {t} are lower than at {_best(v)}, by no more than chance makes."
    return f"Too early to say. {v.looks} evaluation{'' if v.looks == 1 else 's'} so far."


def claim(verdict: Verdict) -> str:
    """The headline without its state."""
    return headline(verdict).partition(". ")[2]


def _before(v: Verdict) -> str:
    """What the present answers are worse than."""
    return at_steps(v.against) if v.against else _best(v)


def _best(v: Verdict) -> str:
    return f"step {v.best.step}" if v.best else "the best"


def _few(v: Verdict) -> str:
    """Why no alarm can be raised here."""
    if v.units < v.n:
        return f"{v.n} prompts are {v.units} clusters that stand together: below 10 no fall can be called."
    return f"{v.n} prompts: below 10 no fall can be called."


def why(verdict: Verdict, *, metric: str = "win_prob") -> str:
    """Size, bound and n; the bound is that of the contrast that fired, and comes first."""
    v = verdict
    if v.state in ("degraded", "warned"):
        return " ".join(part for part in (_moved(v, metric), _fall(v), _rate(v)) if part)
    if v.state in ("improving", "steady") and v.value is not None:
        text = f"The {label(metric)} is {number(v.value.value, metric)} ({interval(v.value, metric)})."
        if v.state == "improving" and v.gain is not None and v.gain.value > 0:
            band = interval(v.gain, metric, n=False)
            text = f"{text[:-1]}, {points(v.gain.value, metric)} above the first ({band})."
        return text + _visible(v)
    if v.state == "recovered" and v.ended is not None:
        return f"{_change(v, metric)} The degraded state ended at step {v.ended}.{_visible(v)}".strip()
    if v.state == "undecided":
        return _undecided(v, metric)
    if v.state == "saturated":
        return "Choose stronger references, or references=None."
    return ""


def _undecided(v: Verdict, metric: str) -> str:
    if v.looks < 2:
        return "A verdict needs two evaluations of the same prompts, at least 10."
    if v.visible_drop == math.inf:
        more = "prompts of other conversations or documents" if v.units < v.n else "prompts"
        return f"Add {more}."
    return f"{_change(v, metric)}{_ups_and_downs(v)} Wait for the next evaluation.".strip()


def _change(v: Verdict, metric: str) -> str:
    """The paired change since the best, in the headline metric."""
    if v.change is None or not math.isfinite(v.change.low):
        return ""
    way = "below" if v.change.value < 0 else "above"
    return (
        f"The {label(metric)} is {points(v.change.value, metric)} {way} that of {_best(v)} "
        f"({interval(v.change, metric, n=False)}, paired)."
    )


def _ups_and_downs(v: Verdict) -> str:
    if not math.isfinite(v.jitter):
        return ""
    return f" Checkpoints of this run differ by about {points(v.jitter)} from one to the next anyway."


def _moved(v: Verdict, metric: str) -> str:
    """How the headline metric moved, from the best to here."""
    if v.value is None or v.best is None or not math.isfinite(v.best.value.value):
        return ""
    name = label(metric)
    before, now = number(v.best.value.value, metric), number(v.value.value, metric)
    return f"{name[0].upper()}{name[1:]} {before} at step {v.best.step}, {now} now."


def _fall(v: Verdict) -> str:
    """The pool score: against the run's own answers. The fall measured at an alarm reads high."""
    if v.drop is None:
        return ""
    value, low, high, n = v.drop
    if math.isfinite(high):
        return (
            f"Fresh prompts confirm it: against the earlier answers it fell {points(value)} "
            f"({interval(v.drop, n=False)}, {n} prompts, paired)."
        )
    if math.isfinite(low) and low > 0:
        return (
            f"Against the run's own earlier answers at least {points(low)} are certain "
            f"({points(value)} measured, {v.n} prompts)."
        )
    measured = f"{points(value)} measured, {v.n} prompts"
    return f"Against the run's own earlier answers no amount is certain ({measured})."


def _rate(v: Verdict) -> str:
    """How often chance says so, and under which condition that holds."""
    often = _one_in(v.false_alarms)
    included = (
        f" (ups and downs of {points(INCLUDED)} included)"
        if math.isfinite(v.jitter)
        else " if checkpoints do not go up and down by themselves"
    )
    if v.state == "warned":
        return f"{often} healthy runs warns once{included}; wait for the next evaluation before acting."
    return f"{often} healthy runs raises this once{included}."


def _one_in(rate: float) -> str:
    """A rate as people say it.

    Example:
        >>> _one_in(0.05), _one_in(0.07)
        ('1 in 20', 'About 1 in 14')
    """
    many = round(1.0 / rate)
    return f"1 in {many}" if abs(many * rate - 1.0) < 0.005 else f"About 1 in {many}"


def _visible(v: Verdict) -> str:
    if not math.isfinite(v.visible_drop):
        return ""
    return f" A drop under {points(v.visible_drop)} would usually go unnoticed."


def _seen_by(v: Verdict) -> str:
    others = [for_terminal(s.about) for s in v.signals if s.name in ("divergence", "second_opinion")]
    if not others:
        return "No degradation seen."
    return f"The judge sees no degradation, but {' and '.join(others)} {'do' if len(others) > 1 else 'does'}."


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
        return ties(best if top is None else top)
    if best.step in top.tied:
        return f"It is tied with step {top.step}, whose weights are not on disk."
    return f"Step {top.step} was better ({number(top.value.value, metric)}), but its weights are not on disk."


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
        f"({interval(best.value, metric)}), of the {answered} that answered again; the value is read where "
        f"it was not chosen and is not flattering. {said} {ties(best)}"
    )


def ties(best: Best) -> str:
    """How many other checkpoints are tied with the best: no difference between them is measured."""
    if not best.tied:
        return "No other checkpoint comes close."
    if len(best.tied) == 1:
        return f"1 other checkpoint, step {best.tied[0]}, is tied with it.{_costs(best)}"
    return (
        f"{len(best.tied)} other checkpoints, between step {min(best.tied)} and step {max(best.tied)}, "
        f"are tied with it.{_costs(best)}"
    )


def _costs(best: Best) -> str:
    """What the earliest of the tied costs at most."""
    if best.earliest is None or best.earliest == best.step or not math.isfinite(best.earliest_cost):
        return ""
    return (
        f" Step {best.earliest}, the earliest, costs at most {points(best.earliest_cost)} against whichever "
        "is truly best."
    )
