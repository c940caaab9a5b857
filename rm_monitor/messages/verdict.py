"""What a verdict says: claim, size with its bound, what to do."""

from __future__ import annotations

import math

from rm_monitor.messages.numbers import at_steps, interval, label, number, points
from rm_monitor.messages.signals import is_grave, note
from rm_monitor.text.escape import for_terminal
from rm_monitor.types import Best, Verdict

__all__ = ["confirmed", "headline", "others", "reason", "ties", "todo", "why"]


def reason(verdict: Verdict, *, metric: str = "win_prob") -> str:
    """What a person can act on: claim, size, and what else is grave."""
    grave = (note(s, metric=metric) for s in verdict.signals if is_grave(s))
    return " ".join(part for part in (headline(verdict), why(verdict, metric=metric), *grave) if part)


def headline(verdict: Verdict) -> str:
    """State and claim."""
    v, t = verdict, verdict.step
    if v.state == "degraded":
        return (
            f"Degraded. Answers at step {t} are worse than at {at_steps(v.against)}."
            if v.against
            else f"Degraded since step {v.since}."
        )
    if v.state == "warned":
        return (
            f"Warned. Answers at step {t} may be worse than at {at_steps(v.against)}."
            if v.against
            else "Warned."
        )
    if v.state in ("improving", "steady"):
        seen = _seen_by(v)
        if v.state == "improving":
            return f"{seen} Step {t} is the best so far."
        best = f" at step {v.best.step}" if v.best else " before"
        return f"{seen} Answers at step {t} are not measurably worse than{best}."
    if v.state == "recovered":
        best = f" of step {v.best.step}" if v.best else ""
        return f"Recovered. Step {t} is back within reach{best}."
    if v.state == "unknown":
        return (
            f"No verdict. The last {v.failed} evaluations failed."
            if v.failed > 1
            else "No verdict. The last evaluation failed."
        )
    if v.state == "saturated":
        share = number(v.value.value) if v.value else "Nearly all"
        return f"No verdict. {share} of comparisons are won: the references are too weak to see a fall."
    return f"Too early to say. {v.looks} evaluation{'' if v.looks == 1 else 's'} so far."


def why(verdict: Verdict, *, metric: str = "win_prob") -> str:
    """Size, bound and n; the bound is that of the contrast that fired, and comes first."""
    v = verdict
    if v.state in ("degraded", "warned"):
        return " ".join(part for part in (_fall(v), _against_references(v, metric), _rate(v)) if part)
    if v.state in ("improving", "steady") and v.value is not None:
        text = f"The {label(metric)} is {number(v.value.value, metric)} ({interval(v.value, metric)})."
        if v.state == "improving" and v.gain is not None and v.gain.value > 0:
            band = interval(v.gain, metric, n=False)
            text = f"{text[:-1]}, {points(v.gain.value, metric)} above the first ({band})."
        return text + _visible(v)
    if v.state == "recovered" and v.ended is not None:
        return f"The degraded state ended at step {v.ended}.{_visible(v)}"
    if v.state == "undecided":
        return "A verdict needs two evaluations of the same prompts, at least 10."
    if v.state == "saturated":
        return "Choose stronger references, or references=None."
    return ""


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
    measured = f"the measured {points(value)} is likely overstated; {v.n} prompts, paired"
    if math.isfinite(low) and low > 0:
        return f"Against the run's own answers it fell at least {points(low)} ({measured})."
    if math.isfinite(low):
        return f"Against the run's own answers it fell, by no sure amount ({measured})."
    return f"Against the run's own answers it is still below, by no sure amount ({measured})."


def _against_references(v: Verdict, metric: str) -> str:
    """How the headline metric moved, from the best to here; no interval: the best reads high."""
    if v.value is None or v.best is None or not math.isfinite(v.best.value.value):
        return ""
    moved = v.value.value - v.best.value.value
    how = "fell" if moved < 0 else "moved"
    before, now = number(v.best.value.value, metric), number(v.value.value, metric)
    against = "" if metric == "reward" else "Against the references the "
    return f"{against or 'The '}{label(metric)} {how} from {before} at step {v.best.step} to {now}."


def _rate(v: Verdict) -> str:
    rate = round(100 * v.false_alarms)
    if v.state == "warned":
        return f"About {rate} in 100 healthy runs warn once; wait for the next evaluation before acting."
    return f"About {rate} in 100 healthy runs raise this alarm once."


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
        return f"It cannot be told from step {top.step}, whose weights are not on disk."
    return f"Step {top.step} was better ({number(top.value.value, metric)}), but its weights are not on disk."


def confirmed(best: Best, live: int, *, metric: str = "win_prob", answered: int = 0) -> str:
    """What held-out prompts say of the best of a run that is over.

    Example:
        >>> from rm_monitor import Estimate
        >>> found = Best(step=80, value=Estimate(0.631, 0.58, 0.68, 128), tied=(90,))
        >>> confirmed(found, 90, answered=5).split("; ")[0]
        'Best on held-out prompts: step 80, 63.1% (58.0 to 68.0, n 128), of the 5 that answered again'
    """
    said = "The run itself had said so too." if live == best.step else f"The run itself had said step {live}."
    return (
        f"Best on held-out prompts: step {best.step}, {number(best.value.value, metric)} "
        f"({interval(best.value, metric)}), of the {answered} that answered again; the value is read where "
        f"it was not chosen and is not flattering. {said} {ties(best)}"
    )


def ties(best: Best) -> str:
    """How many other checkpoints cannot be told from the best."""
    if not best.tied:
        return "No other checkpoint comes close."
    if len(best.tied) == 1:
        return f"1 other checkpoint, step {best.tied[0]}, cannot be told from it."
    return (
        f"{len(best.tied)} other checkpoints, between step {min(best.tied)} and step {max(best.tied)}, "
        "cannot be told from it."
    )
