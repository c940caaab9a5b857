"""Every sentence a person reads: console, alerts, page, notebook. One source, so that they agree.

Numbers: ``65.2%`` without a space; differences in *points* with a real minus; intervals as ``62.6 to
    67.7``; n always. Present tense, no p, no "significant".
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from rm_monitor.escape import for_terminal
from rm_monitor.types import Best, Estimate, EvalPoint, Update, Verdict

__all__ = [
    "alarm",
    "headline",
    "interval",
    "label",
    "line",
    "number",
    "opening",
    "points",
    "reason",
    "sparkline",
    "summary",
    "ties",
    "todo",
    "why",
]

_SHARES = ("win_prob", "win_rate", "lc_win_prob", "tie_rate")
_NAMES = {"win_prob": "win probability", "win_rate": "win rate", "reward": "mean reward"}
_BARS, _ASCII_BARS = "▁▂▃▄▅▆▇█", "_.-~=+*#"


# --------------------------------------------------------------------------- numbers


def is_share(metric: str) -> bool:
    """Whether a metric is shown in percent."""
    return (
        metric.partition("@")[0].split("/")[0] in _SHARES
        or metric.partition("@")[0].split("/")[-1] in _SHARES
    )


def number(value: float, metric: str = "win_prob") -> str:
    """A value of a metric.

    Example:
        >>> number(0.652), number(-1.25, "reward"), number(float("nan"))
        ('65.2%', '−1.25', 'unknown')
    """
    if not math.isfinite(value):
        return "unknown"
    return f"{100 * value:.1f}%" if is_share(metric) else _minus(f"{value:.2f}")


def points(difference: float, metric: str = "win_prob") -> str:
    """The size of a difference, without its sign: in points for shares.

    Example:
        >>> points(-0.059), points(0.01), points(0.5, "reward")
        ('5.9 points', '1.0 point', '0.50')
    """
    if not is_share(metric):
        return f"{abs(difference):.2f}"
    text = f"{abs(100 * difference):.1f}"
    return f"{text} point" if text == "1.0" else f"{text} points"


def interval(e: Estimate, metric: str = "win_prob", *, n: bool = True) -> str:
    """An interval and its n.

    Example:
        >>> interval(Estimate(0.65, 0.616, 0.687, 256))
        '61.6 to 68.7, n 256'
    """
    low, high = (100 * e.low, 100 * e.high) if is_share(metric) else (e.low, e.high)
    digits = 1 if is_share(metric) else 2
    text = _minus(f"{low:.{digits}f} to {high:.{digits}f}") if math.isfinite(low) else "interval unknown"
    return f"{text}, n {e.n}" if n else text


def label(metric: str) -> str:
    """A metric's name in words."""
    return _NAMES.get(metric, metric.replace("_", " "))


def _minus(text: str) -> str:
    text = text.replace("-", "−")
    return text.replace("−0.00", "0.00").replace("−0.0 ", "0.0 ")


def _steps(steps: Sequence[int]) -> str:
    if len(steps) == 1:
        return f"step {steps[0]}"
    return f"steps {steps[0]} to {steps[-1]} on average"


# --------------------------------------------------------------------------- what a verdict says


def reason(verdict: Verdict, *, metric: str = "win_prob") -> str:
    """One sentence a person can act on."""
    return f"{headline(verdict)} {why(verdict, metric=metric)}".strip()


def headline(verdict: Verdict) -> str:
    """State and claim."""
    v, t = verdict, verdict.step
    if v.state == "degraded":
        return (
            f"Degraded. Answers at step {t} are worse than at {_steps(v.against)}."
            if v.against
            else f"Degraded since step {v.since}."
        )
    if v.state == "warned":
        return (
            f"Warned. Answers at step {t} may be worse than at {_steps(v.against)}."
            if v.against
            else "Warned."
        )
    if v.state == "improving":
        return f"No degradation seen. Step {t} is the best so far."
    if v.state == "steady":
        best = f" at step {v.best.step}" if v.best else " before"
        return f"No degradation seen. Answers at step {t} are not measurably worse than{best}."
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
    """Size, bound and n; the bound is that of the contrast that fired."""
    v = verdict
    rate = f"About {round(100 * v.false_alarms)} in 100 healthy runs raise this alarm once."
    fall = _change(v, metric)
    if v.state == "degraded":
        low = v.drop.low if v.drop is not None else math.nan
        least = f", at least {points(low)}" if math.isfinite(low) else ""
        own = (
            f"Against the run's own answers it fell {points(v.drop.value)}{least} ({v.n} prompts, paired)."
            if v.drop
            else ""
        )
        return " ".join(part for part in (fall, own, rate) if part)
    if v.state == "warned":
        return " ".join(
            p
            for p in (
                fall,
                "About 20 in 100 healthy runs warn once; wait for the next evaluation before acting.",
            )
            if p
        )
    if v.state in ("improving", "steady") and v.value is not None:
        text = f"The {label(metric)} is {number(v.value.value, metric)} ({interval(v.value, metric)})."
        if v.state == "improving" and v.gain is not None and v.gain.value > 0:
            band = interval(v.gain, metric, n=False)
            text = f"{text[:-1]}, {points(v.gain.value, metric)} above the first ({band})."
        if v.state == "steady" and math.isfinite(v.visible_drop):
            text += f" A drop under {points(v.visible_drop)} would usually go unnoticed."
        return text
    if v.state == "recovered" and v.ended is not None:
        return f"The degraded state ended at step {v.ended}."
    if v.state == "undecided":
        return "A verdict needs two evaluations of the same prompts."
    if v.state == "saturated":
        return "Choose stronger references, or references=None."
    return ""


def _change(v: Verdict, metric: str) -> str:
    """How the headline metric moved, from the best to here."""
    if v.value is None or v.best is None or not math.isfinite(v.best.value.value):
        return ""
    name = label(metric)
    moved = v.value.value - v.best.value.value
    how = "fell" if moved < 0 else "moved"
    before, now = number(v.best.value.value, metric), number(v.value.value, metric)
    return f"The {name} {how} from {before} to {now} since step {v.best.step}."


def todo(verdict: Verdict, best: Best | None) -> str:
    """What to do."""
    if best is None:
        return "No checkpoint is on disk yet."
    where = f", kept in {for_terminal(best.checkpoint)}" if best.checkpoint else ""
    start = (
        f"Use step {best.step}{where}."
        if verdict.state == "degraded"
        else f"Best so far: step {best.step}{where}."
    )
    return f"{start} {ties(best)}"


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


# --------------------------------------------------------------------------- the console


def opening(facts: Mapping[str, str]) -> str:
    """The first line of a run."""
    return (
        f"rm_monitor: {facts['prompts']} prompts against {facts['references']}, "
        f"judged by {for_terminal(facts['reward_model'])}, {facts['every']}"
    )


def line(update: Update) -> str:
    """One line an evaluation, at most 80 columns for usual names; fixed words, so that grep finds them."""
    point, verdict = update.point, update.verdict
    start = f"rm_monitor step {point.step:<6}"
    seconds = point.measured.get("seconds", math.nan)
    took = f"{seconds:.0f}s" if math.isfinite(seconds) else ""
    if point.status in ("failed", "skipped"):
        return f"{start} no number: {for_terminal(point.reason)[:200]}; training goes on"
    e = point.metrics[update.metric]
    value = f"{number(e.value, update.metric)} {update.metric} ({interval(e, update.metric)})"
    return (
        f"{start} {value}  {_remark(update):<12} {took}".rstrip()
        if point.status == "ok"
        else (f"{start} {value}  partial: {for_terminal(point.reason)} {took} {verdict.state}".rstrip())
    )


def _remark(update: Update) -> str:
    state, best = update.verdict.state, update.verdict.best
    if state in ("degraded", "warned", "saturated", "recovered"):
        return state.upper() if state in ("degraded", "warned") else state
    if len([p for p in update.curve if p.status == "ok"]) == 1:
        return "start"
    if state == "improving":
        return "new best"
    if best is not None and update.point.step in best.tied:
        return f"ties with {best.step}"
    return f"best {best.step}" if best is not None else ""


def alarm(update: Update) -> str:
    """The block shown once when the state changes; also the text of alerts."""
    v = update.verdict
    against = _steps(v.against) if v.against else f"step {v.best.step}" if v.best else "before"
    claim = {
        "degraded": f"rm_monitor DEGRADED at step {v.step}: answers are worse than at {against}.",
        "warned": f"rm_monitor WARNED at step {v.step}: answers may be worse than at {against}.",
    }.get(v.state, f"rm_monitor {v.state.upper()} at step {v.step}: {headline(v)}")
    lines = [claim, f"  {why(v, metric=update.metric)} Training goes on."]
    if update.best is not None:
        where = for_terminal(update.best.checkpoint or "not saved yet")
        lines.append(f"  Best checkpoint (step {update.best.step}): {where}")
    if update.report:
        lines.append(f"  Page: {for_terminal(update.report)}")
    return "\n".join(lines)


def summary(
    curve: Sequence[EvalPoint],
    verdict: Verdict,
    best: Best | None,
    *,
    metric: str,
    output_dir: str,
    ascii: bool = False,
) -> str:
    """The end of a run."""
    failed = sum(p.status == "failed" for p in curve)
    seconds = sum(p.measured.get("seconds", 0.0) for p in curve)
    took = f"{seconds / 60:.0f} min" if seconds >= 120 else f"{seconds:.0f} s"
    count = f"{len(curve)} evaluation{'' if len(curve) == 1 else 's'}"
    lines = [f"rm_monitor: {count}, {failed} failed, {took}"]
    values = [p.metrics[metric].value if metric in p.metrics else math.nan for p in curve]
    known = [v for v in values if math.isfinite(v)]
    if known:
        star = next((i for i, p in enumerate(curve) if best is not None and p.step == best.step), None)
        span = f"{number(min(known), metric)} to {number(max(known), metric)}"
        lines.append(f"  {sparkline(values, star=star, ascii=ascii)}  {metric}, {span}")
    lines.append(f"  {headline(verdict)}")
    if best is not None:
        flattering = f"; the highest of {len(known)} reads high" if len(known) > 1 else ""
        lines.append(
            f"  Best: step {best.step}, {number(best.value.value, metric)} "
            f"({interval(best.value, metric)}{flattering})"
        )
        if best.checkpoint:
            lines.append(f'        from_pretrained("{for_terminal(best.checkpoint)}")')
        lines.append(f"  {ties(best)}")
    lines.append(f"  Files: {for_terminal(output_dir)}")
    return "\n".join(lines)


def sparkline(
    values: Sequence[float], *, star: int | None = None, ascii: bool = False, width: int = 60
) -> str:
    """A curve in one line; the best is a star, a failed evaluation a cross.

    Example:
        >>> sparkline([0.1, 0.5, float("nan"), 0.9, 0.2], star=3)
        '▁▅×★▂'
        >>> sparkline([0.1, 0.5, float("nan"), 0.9, 0.2], star=3, ascii=True)
        '_=x@.'
    """
    bars, best, cross = (_ASCII_BARS, "@", "x") if ascii else (_BARS, "★", "×")
    known = [v for v in values if math.isfinite(v)]
    low, span = (min(known), (max(known) - min(known)) or 1.0) if known else (0.0, 1.0)
    marks = []
    size = max(1, math.ceil(len(values) / width))
    for start in range(0, len(values), size):
        group = [v for v in values[start : start + size] if math.isfinite(v)]
        if star is not None and start <= star < start + size:
            marks.append(best)
        elif not group:
            marks.append(cross)
        else:
            level = (sum(group) / len(group) - low) / span
            marks.append(bars[min(int(level * len(bars)), len(bars) - 1)])
    return "".join(marks)
