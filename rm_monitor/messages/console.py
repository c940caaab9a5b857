"""What the console prints: one line an evaluation, a block when the state changes, a summary at the end."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from rm_monitor.messages.choice import others
from rm_monitor.messages.numbers import against_references, interval, label, number
from rm_monitor.messages.signals import is_loud, note, notice
from rm_monitor.messages.sparks import sparkline
from rm_monitor.messages.verdict import headline, why
from rm_monitor.text.escape import for_terminal
from rm_monitor.types import Best, EvalPoint, Update, Verdict

__all__ = ["line", "news", "opening", "summary"]

_SHORT = {"win_prob": "win prob", "win_rate": "win rate"}  # a line has 80 columns


def opening(facts: Mapping[str, str]) -> str:
    """The first line of a run."""
    return (
        f"rm_monitor: {facts['prompts']} prompts against {facts['references']}, "
        f"judged by {for_terminal(facts['reward_model'])}, {facts['every']}; {_read(facts)}"
    )


def _read(facts: Mapping[str, str]) -> str:
    """What the numbers of the lines that follow are."""
    metric = facts.get("metric", "win_prob")
    half = "; 50% is as good as the references" if against_references(metric) else ""
    return f"the number is the {label(metric)}{half}"


def line(update: Update) -> str:
    """One line an evaluation, about 80 columns for usual names; fixed words, so that grep finds them."""
    point, verdict = update.point, update.verdict
    start = f"rm_monitor step {point.step:<5}"
    seconds = point.measured.get("seconds", math.nan)
    took = f"{seconds:.0f}s" if math.isfinite(seconds) else ""
    if "same_weights_as" in point.measured:
        took = f"the weights of step {point.measured['same_weights_as']:.0f}"
    if point.status in ("failed", "skipped"):
        again = f" ({verdict.failed} in a row)" if verdict.failed > 1 else ""
        return f"{start} no number{again}: {for_terminal(point.reason)[:200]}; training goes on"
    e = point.metrics[update.metric]
    name = _SHORT.get(update.metric, update.metric)
    value = f"{number(e.value, update.metric)} {name} ({interval(e, update.metric)})"
    return (
        f"{start} {value}  {_remark(update):<13} {took}".rstrip()
        if point.status == "ok"
        else (f"{start} {value} partial: {for_terminal(point.reason)} {took} {verdict.state}".rstrip())
    )


def _remark(update: Update) -> str:
    state, best = update.verdict.state, update.verdict.best
    if update.verdict.dip and state == "undecided" and best is not None:
        return f"dip, best {best.step}"
    if state in ("degraded", "warned", "saturated", "recovered"):
        return state.upper() if state in ("degraded", "warned") else state
    if len([p for p in update.curve if p.status == "ok"]) == 1:
        return "start"
    if state == "improving":
        return "new best"
    if best is not None and update.point.step in best.tied:
        return f"ties with {best.step}"
    return f"best {best.step}" if best is not None else ""


def news(update: Update) -> str:
    """What was not seen before, beside the headline: a line for text metrics, a block for what is graver."""
    loud = [s for s in update.news if is_loud(s)]
    at = f"at step {update.point.step}"
    lines = [f"rm_monitor NOTE {at}: {note(s, metric=update.metric)}" for s in loud]
    start = f"rm_monitor note {at}"
    quiet = [s for s in update.news if not is_loud(s)]
    if len(quiet) == 1:
        lines.append(f"{start}: {note(quiet[0], metric=update.metric)}")
    elif quiet:
        lines.append(f"{start}: since the start {notice(quiet)}")
    return "\n".join(lines)


def summary(
    curve: Sequence[EvalPoint],
    verdict: Verdict,
    best: Best | None,
    *,
    metric: str,
    output_dir: str,
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
        lines.append(f"  {sparkline(values, star=star)}  {label(metric)}, {span}")
    lines.append(f"  {headline(verdict)}")
    if verdict.state in ("degraded", "warned"):
        lines.append(f"  {why(verdict, metric=metric)}")
    if best is not None:
        is_top = verdict.best is not None and verdict.best.step == best.step
        flattering = f"; the choice among {len(known)} flatters it" if len(known) > 1 and is_top else ""
        lines.append(
            f"  Best: step {best.step}, {number(best.value.value, metric)} "
            f"({interval(best.value, metric)}{flattering})"
        )
        if best.checkpoint:
            lines.append(f'        from_pretrained("{for_terminal(best.checkpoint)}")')
        last = curve[-1].step if curve else best.step
        if last != best.step:  # what a host leaves and pushes is the last
            run = for_terminal(output_dir.rstrip("/").removesuffix("_rm_monitor").rstrip("/") or ".")
            lines.append(
                f"        What training leaves in {run} is step {last}, not the best: "
                f"rm-monitor best {run} --export DIR takes step {best.step}"
            )
        if beside := others(verdict, best, metric=metric):
            lines.append(f"  {beside}")
    lines += [f"  {note(s, metric=metric)}" for s in verdict.signals if is_loud(s)]
    quiet = [s for s in verdict.signals if not is_loud(s)]
    if quiet:
        lines.append(f"  Since the start: {notice(quiet)}.")
    lines.append(f"  Files: {for_terminal(output_dir)}")
    return "\n".join(lines)
