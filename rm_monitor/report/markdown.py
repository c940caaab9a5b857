"""A run as Markdown, for a model card or a pull request: words, one table, no text of any model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rm_monitor import messages
from rm_monitor.messages import page as sentences
from rm_monitor.report.sections.opening import mark
from rm_monitor.report.view import NOTHING, RunView
from rm_monitor.text.escape import visible
from rm_monitor.types import EvalPoint

__all__ = ["markdown"]

MOST = 12  # rows of the table; the whole curve is on the page
_SPECIAL = str.maketrans({c: f"\\{c}" for c in "\\`*_{}[]#|~!"} | {"<": "&lt;", ">": "&gt;", "&": "&amp;"})


def markdown(runs: Sequence[RunView]) -> str:
    """Verdict, curve in one line, a table of the evaluations that matter, and how it was made."""
    return "\n".join(line for run in runs for line in _run(run))


def _run(run: RunView) -> Iterator[str]:
    verdict, metric = run.verdict, run.metric
    state, claim = sentences.split(messages.headline(verdict))
    yield f"### {mark(run)} {inert(run.name)}: {state.rstrip('.').lower()}\n"
    yield f"**{inert(claim or state)}** {inert(messages.why(verdict, metric=metric))}\n"
    yield f"{inert(messages.todo(verdict, run.best, metric=metric))}\n"
    values = [p.metrics[metric].value if metric in p.metrics else float("nan") for p in run.curve]
    star = next((i for i, p in enumerate(run.curve) if p.step == run.best_step), None)
    if values:
        yield f"`{messages.sparkline(values, star=star)}` {inert(messages.label(metric))}, step {run.curve[0].step} to {run.curve[-1].step}\n"
    yield f"| step | {inert(messages.label(metric))} | 95 % interval | n | change from the best | state |"
    yield "|---:|---:|:---|---:|:---|:---|"
    chosen = _chosen(run)
    yield from (_row(run, point) for point in chosen)
    if len(chosen) < len(run.curve):
        yield f"\n{len(chosen)} of {len(run.curve)} evaluations; changes are paired by prompt and hold for all at once."
    else:
        yield "\nChanges are paired by prompt and hold for all evaluations at once."
    yield f"\n{inert(sentences.judge(run.judge))}\n"
    if run.facts:
        yield "<details><summary>How this was made</summary>\n"
        yield from (f"- {inert(name)}: {inert(text)}" for name, text in run.facts.items())
        yield "\n</details>\n"


def inert(text: str) -> str:
    r"""Text that Markdown shows as it is.

    Example:
        >>> print(inert("[a](javascript:x) <b>"))
        \[a\](javascript:x) &lt;b&gt;
    """
    return " ".join(visible(text).split()).translate(_SPECIAL)


def _row(run: RunView, point: EvalPoint) -> str:
    e, change = point.metrics.get(run.metric, NOTHING), run.headline_changes.get(point.step, NOTHING)
    latest = point.segment == run.curve.segment_name
    state = (
        "best"
        if point.step == run.best_step
        else run.states.get(point.step, "")
        if latest
        else "earlier set-up"
    )
    if point.status != "ok":
        state = f"{point.status}: {inert(point.reason[:120])}"
    moved = f"{sentences.signed(change.value, run.metric)} ({sentences.span(change, run.metric)})"
    cells = (
        str(point.step),
        messages.number(e.value, run.metric),
        messages.interval(e, run.metric, n=False) if e.n else "",
        str(e.n),
        moved if change.n and point.step != run.best_step else "",
        state,
    )
    return f"| {' | '.join(cells)} |"


def _chosen(run: RunView) -> list[EvalPoint]:
    """The first, the best, the latest, the alarm, failures, and others evenly between."""
    curve = list(run.curve)
    if len(curve) <= MOST:
        return curve
    keep = {0, len(curve) - 1}
    for i, point in enumerate(curve):
        if point.step in (run.best_step, run.verdict.since):
            keep.add(i)
    even = [round(i * (len(curve) - 1) / (MOST - 1)) for i in range(MOST)]
    for i in even:
        if len(keep) < MOST:
            keep.add(i)
    return [curve[i] for i in sorted(keep)]
