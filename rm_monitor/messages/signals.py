"""What was seen beside the headline: one sentence each, and a short name for the console line."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rm_monitor.curve.metric import Metric
from rm_monitor.curve.metrics import WATCHED, find
from rm_monitor.messages.numbers import at_steps, interval, label, number, points, prompts
from rm_monitor.text.escape import for_terminal
from rm_monitor.types import Estimate, Signal

__all__ = ["is_grave", "is_loud", "note", "notice"]

_SHORT = {
    "divergence": "{about} falls",
    "second_opinion": "{about} falls",
    "training_reward": "training reward rises",
    "not_confirmed": "warning not confirmed",
    "length_explains": "length explains part of the gain",
}


def is_grave(signal: Signal) -> bool:
    """Whether a person should read answers before going on: it has a line of its own, and an alert."""
    alike = signal.name == "duplicates" and not signal.against
    return alike or signal.name in ("divergence", "second_opinion", "training_reward")


def is_loud(signal: Signal) -> bool:
    """Whether it is said wherever the verdict is; the rest is drift, said where there is room."""
    cut_off = signal.name == "truncated" and not signal.against
    return is_grave(signal) or cut_off or signal.name in ("same_reward_model", "not_confirmed")


def note(signal: Signal, *, metric: str = "win_prob") -> str:
    """A signal as sentences: what is seen, its size with a bound and n, how often chance does it."""
    s = signal
    about = for_terminal(s.about)
    if s.name == "same_reward_model":
        return (
            f"The monitor's reward model is also the training reward ({about}): this curve need not turn "
            "when quality does. Name a second reward model, reward_model={...}, and read its curve and what "
            "changed about the answers."
        )
    if s.name in ("divergence", "second_opinion"):
        return _second(s, about, metric)
    if s.name == "training_reward":
        return (
            f"The training reward rises while the {label(metric)} falls: `{about}` in the trainer's log went "
            f"from {number(s.before, 'reward')} to {number(s.now, 'reward')} since {at_steps(s.against)} "
            f"({s.n} logs, first and last third; of two the later is higher {100 * s.order:.0f} "
            "times in 100). Training optimises something that the judge does not value."
        )
    if s.name == "length_explains":
        e = s.change
        size = "part" if e is None else f"{points(e.value)} ({_bare(e, 'win_prob')})"
        return (
            f"Length explains {size} of the gain since {at_steps(s.against)}: the rest is what the win "
            "probability at the references' length has gained (an estimate; length may also be a merit)."
        )
    if s.name == "not_confirmed":
        return (
            f"Fresh prompts do not confirm the warning: on {s.n} prompts that the run is not judged on, "
            f"answers at step {s.step} are {_bare(s.change)} points behind those at {at_steps(s.against)}."
        )
    if s.name == "duplicates" and not s.against:
        return (
            f"{number(s.now, 'duplicates')} of answers are given to several prompts ({_bare(s.change)}, "
            f"{prompts(s.n)}): whatever the {label(metric)}, few answers serve many prompts. Read them."
        )
    if s.name == "truncated" and not s.against:
        return (
            f"{number(s.now, 'truncated')} of answers are cut off at {about} ({_bare(s.change)}, "
            f"{prompts(s.n)}): scores of unfinished text say little. Raise it, unless training is to teach "
            "the policy to end."
        )
    return _drift(s)


def notice(signals: Sequence[Signal]) -> str:
    """What was seen, for one console line, the gravest first.

    Example:
        >>> longer = Signal(name="length", against=(0,), before=120.0, now=210.4)
        >>> notice([longer, Signal(name="divergence", about="gold")])
        'gold falls, length 120 → 210 tokens'
    """
    order = [*_SHORT, *(metric.name for metric in WATCHED)]
    known = sorted((s for s in signals if s.name in order), key=lambda s: order.index(s.name))
    return ", ".join(
        _SHORT[s.name].format(about=for_terminal(s.about)) if s.name in _SHORT else _moved(s) for s in known
    )


def _moved(s: Signal) -> str:
    """A text metric, from what to what."""
    metric = find(s.name)
    if not s.against:
        return f"{metric.label} {_value(s.now, metric)}"
    return f"{metric.label} {_bare_value(s.before, metric)} → {_value(s.now, metric)}"


def _second(s: Signal, about: str, metric: str) -> str:
    then, judge = at_steps(s.against), s.judge
    often = f"{100 * s.false_alarms:.0f}" if math.isfinite(s.false_alarms) else "an unknown number"
    rate = f"About {often} in 100 runs that {about} finds healthy raise this once."
    if s.name == "divergence" and judge is not None:
        return (
            f"Divergence. The {label(metric)} rose {points(judge.value, metric)} "
            f"({interval(judge, metric, n=False)}) since {then}, but {about} sees answers at step {s.step} "
            f"worse than then: {_lost(s)}. {rate} The judge may be over-optimised: read the answers before "
            "you use a later step."
        )
    fall = f"{about} sees answers at step {s.step} worse than at {then}: {_lost(s)}. {rate}"
    if judge is None or not math.isfinite(judge.value):
        return f"A second opinion: {fall}"
    if judge.high < 0:
        return f"A second opinion agrees: {fall}"
    return (
        f"A second opinion: {fall} The {label(metric)} did not fall with it "
        f"({interval(judge, metric, n=False)} since then)."
    )


def _lost(s: Signal) -> str:
    """The bound of the test that fired, then what was measured, which reads high at an alarm."""
    if s.drop is None:
        return "by no known amount"
    measured = f"{points(s.drop.value)} measured, probably less; {prompts(s.n)}"
    if not s.drop.low > 0:
        return f"against the run's own answers, by no sure amount ({measured})"
    return f"against the run's own answers, at least {points(s.drop.low)} ({measured})"


def _drift(s: Signal) -> str:
    """The table's sentence for a text metric that moved."""
    metric, way = find(s.name), 0 if s.change is not None and s.change.value > 0 else 1
    said = metric.sentence.format(
        more=metric.more[way],
        then=at_steps(s.against),
        before=_value(s.before, metric),
        now=_bare_value(s.now, metric),
        change=f"{_by(s.change, metric)}, {prompts(s.n)}",
    )
    return f"{said} {metric.advice[way]}".strip()


def _by(e: Estimate | None, metric: Metric) -> str:
    """How much a metric moved: the interval of the change, in its unit."""
    if e is None or not math.isfinite(e.low):
        return "by an unknown amount"
    unit, size = ("points", 100.0) if metric.is_share else (metric.unit, 1.0)
    digits = 1 if metric.is_share else max(metric.digits, 1)
    low, high = (f"{size * end:+.{digits}f}".replace("-", "−") for end in (e.low, e.high))
    return f"changed by {low} to {high} {unit}".rstrip()


def _value(value: float, metric: Metric) -> str:
    """A percentage, or a number with its unit."""
    return f"{_bare_value(value, metric)} {metric.unit}".strip()


def _bare_value(value: float, metric: Metric) -> str:
    known = not metric.is_share and math.isfinite(value)
    return f"{value:.{metric.digits}f}" if known else number(value, metric.name)


def _bare(e: Estimate | None, metric: str = "win_prob") -> str:
    """An interval alone; of shares in points."""
    return "interval unknown" if e is None else interval(e, metric, n=False)
