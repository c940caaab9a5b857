"""What the page says beside the verdict."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from rm_monitor.messages.numbers import interval, is_share, label, number, points, prompts, signed
from rm_monitor.messages.verdict import headline
from rm_monitor.text.escape import for_terminal
from rm_monitor.types import Best, Estimate, EvalPoint, State, Verdict

__all__ = [
    "about",
    "between_runs",
    "caption",
    "counts",
    "difference",
    "gaps",
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
        '−18.0 points since step 800 (−24.5 to −11.4, 256 prompts)'
    """
    return f"{signed(e.value, metric)}{unit(metric)} {since} ({span(e, metric)}, {prompts(e.n)})"


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
        parts.append("tied with the best")
    if state in ("degraded", "warned", "recovered"):
        parts.append(state)
    return start + "; ".join(parts)


def gaps(curve: Sequence[EvalPoint]) -> list[str]:
    """Evaluations without a number, one line a stretch of one reason.

    Example:
        >>> gaps([EvalPoint(step=s, status="failed", reason="out of memory") for s in (20, 40)])
        ['No number at steps 20 to 40 (2 evaluations failed): out of memory']
    """
    said, group = [], list[EvalPoint]()
    for point in [*curve, None]:
        if group and (point is None or (point.status, point.reason) != (group[0].status, group[0].reason)):
            what = "failed" if group[0].status == "failed" else "skipped"
            steps = (
                f"step {group[0].step} ({what})"
                if len(group) == 1
                else f"steps {group[0].step} to {group[-1].step} ({len(group)} evaluations {what})"
            )
            said.append(f"No number at {steps}: {for_terminal(group[0].reason)[:300]}")
            group = []
        if point is not None and point.status in ("failed", "skipped"):
            group.append(point)
    return said


def about(facts: Mapping[str, str], metric: str) -> str:
    """A run in one line, from what is known of it: what was trained, judged by what, on what, when.

    Example:
        >>> about({"model": "smol", "reward model": "judge", "prompts": "64 from p.jsonl (ab12)"}, "win_rate")
        'smol · win rate by judge · 64 prompts from p.jsonl'
    """
    asked = facts.get("prompts", "").partition(" (")[0]
    many, _, source = asked.partition(" from ")
    source = "" if source == "list" else source
    against = ", ".join(part.partition(":")[0] for part in facts.get("references", "").split("; ") if part)
    parts = [
        facts.get("model", ""),
        f"{label(metric)} by {facts['reward model']}" if "reward model" in facts else "",
        f"{many} prompts" + (f" from {source}" if source else "") if asked else "",
        f"against {against}" if against else "",
        facts.get("evaluated", ""),
        f"begun {facts['begun']}" if "begun" in facts else "",
    ]
    return " · ".join(part for part in parts if part)


def reads_high(best: Best, readings: int, metric: str) -> str:
    """The winner's curse, in a line; empty where there was nothing to choose from."""
    if readings < 2:
        return ""
    return (
        f"Step {best.step} is the best of {readings} because its answers win most often against those of "
        "the other steps. A number that was chosen flatters: on other prompts "
        f"{number(best.value.value, metric)} is probably a little less."
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
        f"step {best} ({span(change, metric)}, {prompts(change.n)})."
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
