"""What the page says beside the verdict."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rm_monitor.messages.numbers import interval, is_share, label, number, points
from rm_monitor.messages.verdict import headline
from rm_monitor.types import Best, Estimate, EvalPoint, State, Verdict

__all__ = [
    "between_runs",
    "caption",
    "counts",
    "difference",
    "judge",
    "reading",
    "reads_high",
    "second_opinion",
    "signed",
    "span",
    "split",
    "title",
]


def split(text: str) -> tuple[str, str]:
    """A headline as its state and its claim.

    Example:
        >>> split("Degraded. Answers at step 20 are worse than at step 10.")
        ('Degraded.', 'Answers at step 20 are worse than at step 10.')
    """
    state, dot, claim = text.partition(". ")
    return (state + ".", claim) if dot else (text, "")


def title(verdict: Verdict, name: str) -> str:
    """Of the browser's tab: the state first, for tabs are narrow."""
    best = "" if verdict.best is None else f", best {verdict.best.step}"
    state = {"degraded": "Degraded", "warned": "Warned", "recovered": "Recovered"}.get(verdict.state)
    if state is None or verdict.step is None:
        return f"{split(headline(verdict))[0]} · {name}"
    return f"{state} at step {verdict.step}{best} · {name}"


def signed(value: float, metric: str = "win_prob") -> str:
    """A change with its sign, a real minus, and no minus zero.

    Example:
        >>> signed(-0.18), signed(0.005), signed(-0.0001), signed(1.5, "reward")
        ('−18.0', '+0.5', '0.0', '+1.50')
    """
    if not math.isfinite(value):
        return "unknown"
    size, digits = (100 * value, 1) if is_share(metric) else (value, 2)
    size = round(size, digits)
    return f"{size:+.{digits}f}".replace("-", "−") if size else f"{0:.{digits}f}"


def span(e: Estimate, metric: str = "win_prob") -> str:
    """The interval of a change.

    Example:
        >>> span(Estimate(-0.18, -0.245, -0.114, 256))
        '−24.5 to −11.4'
    """
    if not math.isfinite(e.low):
        return "interval unknown"
    return f"{signed(e.low, metric)} to {signed(e.high, metric)}"


def unit(metric: str) -> str:
    """Of a difference."""
    return " points" if is_share(metric) else ""


def difference(e: Estimate, metric: str, since: str) -> str:
    """A change, its interval and its n.

    Example:
        >>> difference(Estimate(-0.18, -0.245, -0.114, 256), "win_prob", "since step 800")
        '−18.0 points since step 800 (−24.5 to −11.4), n 256'
    """
    return f"{signed(e.value, metric)}{unit(metric)} {since} ({span(e, metric)}), n {e.n}"


def reading(
    point: EvalPoint, metric: str, *, state: State | None, best: Best | None, change: Estimate | None
) -> str:
    """One evaluation in one sentence: what the slider and a screen reader say."""
    start = f"Step {point.step}: "
    if point.status in ("failed", "skipped"):
        what = "failed" if point.status == "failed" else "was skipped"
        return f"{start}no number, the evaluation {what}: {point.reason[:200]}"
    e = point.metrics.get(metric)
    if e is None or not math.isfinite(e.value):
        return f"{start}no {label(metric)}"
    parts = [f"{number(e.value, metric)} ({interval(e, metric)})"]
    if point.status == "partial":
        parts.append(f"shown, not compared: {point.reason[:200]}")
    elif best is not None and point.step == best.step:
        parts.append("the best")
    elif change is not None and best is not None:
        parts.append(
            f"{signed(change.value, metric)}{unit(metric)} against step {best.step} ({span(change, metric)})"
        )
    if best is not None and point.step in best.tied:
        parts.append("cannot be told from the best")
    if state in ("degraded", "warned", "recovered"):
        parts.append(state)
    return start + "; ".join(parts)


def reads_high(best: Best, readings: int, metric: str) -> str:
    """The winner's curse, in a line; empty where there was nothing to choose from."""
    if readings < 2:
        return ""
    return (
        f"Chosen among {readings} readings by how often its answers beat the run's other answers, so "
        f"{number(best.value.value, metric)} reads high; a fair value needs prompts that did not choose it."
    )


def judge(name: str) -> str:
    """Whose opinion this is."""
    return f"The judge is {name}: this page says what that reward model prefers, not what is true."


def counts(a: int, b: int, worse: int, better: int, same: int) -> str:
    """How many prompts went each way."""
    return f"From step {a} to step {b}, {worse} prompts went down, {better} went up and {same} stayed."


def caption(start: str, best: str, now: str) -> str:
    """Of a small picture: how a number went; equal ends are said once."""
    shown = [start] + [text for before, text in ((start, best), (best, now)) if text != before]
    return " → ".join(shown)


def second_opinion(name: str, change: Estimate, metric: str, best: int, now: int, *, fell: bool) -> str:
    """What another judge says of the same two steps.

    Args:
        name: Of the other judge.
        change: Its headline metric at the later step minus at the best.
        metric: The headline metric.
        best: The best step, by the first judge.
        now: The later step.
        fell: Whether the first judge sees a fall there.
    """
    clear = change.low > 0 or change.high < 0
    verb = (
        "agrees" if clear and (change.value < 0) == fell else "disagrees" if clear else "does not confirm it"
    )
    if not fell and not clear:
        verb = "sees no clear change either"
    way = "below" if change.value < 0 else "above"
    return (
        f"The second judge ({name}) {verb}: it sees step {now} {points(change.value, metric)} {way} "
        f"step {best} ({span(change, metric)}, n {change.n})."
    )


def between_runs(a: str, b: str, steps: tuple[int, int], change: Estimate, metric: str) -> str:
    """The bests of two runs on the same prompts."""
    way = "above" if change.value >= 0 else "below"
    close = "" if change.low > 0 or change.high < 0 else ": too close to call"
    return (
        f"The best of {a} (step {steps[0]}) is {points(change.value, metric)} {way} the best of {b} "
        f"(step {steps[1]}; {span(change, metric)} on the same {change.n} prompts){close}."
    )


def apart(names: Sequence[str]) -> str:
    """Runs that may not be compared."""
    return (
        f"Not comparable with {', '.join(names)}: other prompts, references, reward model or sampling. "
        "They are drawn together, and that is all."
    )
