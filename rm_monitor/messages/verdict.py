"""What a verdict says: state and claim, then size, bound and how often chance says so."""

from __future__ import annotations

import math

from rm_monitor.messages.block import certain, from_to, healthy_runs
from rm_monitor.messages.numbers import at_steps, between, interval, label, number, points, prompts
from rm_monitor.messages.signals import is_grave, note
from rm_monitor.stats import as_win_rate
from rm_monitor.text.escape import for_terminal
from rm_monitor.types import Verdict

__all__ = ["claim", "headline", "reason", "why"]

_LONG = 3  # evaluations without a new best that are worth a word


def reason(verdict: Verdict, *, metric: str = "win_prob") -> str:
    """What a person can act on: claim, size, and what else is grave."""
    grave = (note(s, metric=metric) for s in verdict.signals if is_grave(s))
    return " ".join(part for part in (headline(verdict), why(verdict, metric=metric), *grave) if part)


def headline(verdict: Verdict) -> str:
    """State and claim."""
    v, t = verdict, verdict.step
    if v.state == "degraded":
        if v.collapsed:
            return f"Degraded. Answers have collapsed: at step {t} far worse than at {_before(v)}."
        return f"Degraded. Answers at step {t} are worse than at {_before(v)}."
    if v.state == "warned":
        return f"Warned. Answers at step {t} may be worse than at {_before(v)}."
    if v.state in ("improving", "steady"):
        return f"{_seen_by(v)} {_stands(v)}"
    if v.state == "recovered":
        return f"Recovered. {_stands(v)}"
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
        return (
            f"A dip. Step {t} is lower than {_best(v)}; the choice of prompts and this run's own ups and "
            "downs can still explain it."
        )
    if v.looks > 1 and v.visible_drop == math.inf:
        return f"No verdict. {_few(v)}"
    if v.looks > 1:
        return f"Undecided. Step {t} reads lower than {_best(v)}; chance does that in many healthy runs."
    return f"Too early to say. {v.looks} evaluation{'' if v.looks == 1 else 's'} so far."


def claim(verdict: Verdict) -> str:
    """The headline without its state."""
    return headline(verdict).partition(". ")[2]


def _stands(v: Verdict) -> str:
    """Where the present step stands to the best, where no fall is seen."""
    if v.best is None or v.best.step == v.step:
        return f"Step {v.step} is the best so far."
    told = f"{prompts(v.n)} can tell" if v.n else "these prompts can tell"
    return f"Step {v.step} is as good as {_best(v)}, the best, as far as {told}."


def _before(v: Verdict) -> str:
    """What the present answers are worse than."""
    return at_steps(v.against) if v.against else _best(v)


def _best(v: Verdict) -> str:
    return f"step {v.best.step}" if v.best else "the best"


def _few(v: Verdict) -> str:
    """Why no alarm can be raised here."""
    if v.units < v.n:
        return f"{v.n} prompts are {v.units} clusters that stand together: below 10 no fall can be called."
    return f"{prompts(v.n)}: below 10 no fall can be called."


def why(verdict: Verdict, *, metric: str = "win_prob") -> str:
    """Size, bound, and how many prompts; the bound is that of the contrast that fired."""
    v = verdict
    if v.state in ("degraded", "warned"):
        return " ".join(part for part in (_fell(v, metric), _measured(v), healthy_runs(v)) if part)
    if v.state in ("improving", "steady") and v.value is not None:
        text = f"The {label(metric)} is {number(v.value.value, metric)} ({interval(v.value, metric)})"
        if v.state == "improving" and v.gain is not None and v.gain.value > 0:
            band = interval(v.gain, metric, n=False)
            text += f", {points(v.gain.value, metric)} above the first ({band})"
        return f"{text}.{_waited(v)}{_visible(v)}"
    if v.state == "recovered":
        ended = "" if v.ended is None else f"It was called degraded until step {v.ended}."
        return f"{_change(v, metric)} {ended}{_visible(v)}".strip()
    if v.state == "undecided":
        return _undecided(v, metric)
    if v.state == "saturated":
        return "Choose stronger references, or references=None."
    return ""


def _fell(v: Verdict, metric: str) -> str:
    """From what to what, how much of it is certain, and by how many prompts."""
    parts = [part for part in (from_to(v, metric), certain(v, metric)) if part]
    if not parts:
        return ""
    text = "; ".join(parts)
    return f"{text[0].upper()}{text[1:]}{f' ({prompts(v.n)})' if v.n else ''}."


def _measured(v: Verdict) -> str:
    """The fall measured at an alarm, which reads high: an alarm is raised when chance exaggerates."""
    if v.drop is None or not math.isfinite(v.drop.value) or v.drop.value <= 0:
        return ""
    size = points(v.drop.value)
    if math.isfinite(v.drop.high):
        band = interval(v.drop, n=False)
        return (
            f"On {prompts(v.drop.n)} that the run is not judged on, answers win {size} less often ({band})."
        )
    return f"Measured against the run's own earlier answers the fall is {size}, probably less in truth."


def _undecided(v: Verdict, metric: str) -> str:
    if v.looks < 2:
        return "A verdict needs two evaluations of the same prompts, at least 10 prompts."
    if v.visible_drop == math.inf:
        more = "prompts of other conversations or documents" if v.units < v.n else "prompts"
        return f"Add {more}."
    return f"{_change(v, metric)}{_ups_and_downs(v)} {_ahead(v)}".strip()


def _ahead(v: Verdict) -> str:
    """What to wait for."""
    if v.alarm_in is None:
        return "Wait for the next evaluation."
    more = "the next evaluation reads" if v.alarm_in == 1 else f"the next {v.alarm_in} evaluations read"
    return f"If {more} the same, it will be called degraded."


def _change(v: Verdict, metric: str) -> str:
    """The change since the best, prompt by prompt, in the headline metric."""
    moved = from_to(v, metric)
    if not moved or v.change is None or not math.isfinite(v.change.low):
        return ""
    return f"{moved}, a change {between(v.change, metric)}."


def _ups_and_downs(v: Verdict) -> str:
    if not math.isfinite(v.jitter):
        return ""
    size = points(as_win_rate(v.jitter))
    if v.dip:
        return (
            f" If checkpoints did not go up and down by themselves, here by about {size}, this would be an "
            "alarm."
        )
    return f" Checkpoints of this run go up and down by about {size} by themselves."


def _waited(v: Verdict) -> str:
    """For how long there was no new best: what patience counts."""
    since = 0 if v.best is None else sum(step > v.best.step for step, _ in v.states)
    return f" No new best for {since} evaluations." if since >= _LONG else ""


def _visible(v: Verdict) -> str:
    if not math.isfinite(v.visible_drop):
        return ""
    return f" A lasting fall under about {points(as_win_rate(v.visible_drop))} would usually go unnoticed."


def _seen_by(v: Verdict) -> str:
    others = [for_terminal(s.about) for s in v.signals if s.name in ("divergence", "second_opinion")]
    if not others:
        return "No degradation seen."
    return f"The judge sees no degradation, but {' and '.join(others)} {'do' if len(others) > 1 else 'does'}."
