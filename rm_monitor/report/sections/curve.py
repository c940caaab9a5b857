"""The curve: the run switch, the chart, what one sees in it, and the same numbers as a table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from rm_monitor import messages, stats
from rm_monitor.messages import page as sentences
from rm_monitor.report import marks
from rm_monitor.report.chart import NARROW, WIDE, chart, read_out
from rm_monitor.report.sections.opening import mark
from rm_monitor.report.view import NOTHING, RunView
from rm_monitor.text.escape import for_html, prose

__all__ = ["curve"]


def curve(runs: Sequence[RunView]) -> Iterator[str]:
    """The section."""
    metric = runs[0].metric
    picture = chart(runs, WIDE)
    yield f'<section id="curve"><h2>{for_html(messages.label(metric)).capitalize()} while training</h2>'
    if len(runs) > 1:
        yield from _switch(runs)
    if not picture:
        yield '<p class="note">No evaluation has given a number yet.</p>'
    else:
        yield f'<div class="chart" id="chart">{picture}{chart(runs, NARROW)}</div>'
        yield '<input type="range" id="step" min="0" max="0" value="0" aria-label="Evaluation" hidden>'
        for k, run in enumerate(runs):
            last = for_html(read_out(run, run.curve[-1])) if run.curve else ""
            yield f'<p class="read focus run{k}" id="read{k}">{last}</p>'
        yield from _legend(runs)
    for k, run in enumerate(runs):
        yield f'<div class="focus run{k}">'
        yield from (f'<p class="note">{prose(text)}</p>' for text in _notes(run) if text)
        yield from _table(run, "" if len(runs) == 1 else f" ({run.name})")
        yield "</div>"
    yield from (f'<p class="note">{prose(text)}</p>' for text in _between(runs))
    yield "</section>"


def _switch(runs: Sequence[RunView]) -> Iterator[str]:
    yield '<fieldset class="runs"><legend>Run in focus</legend>'
    for k, run in enumerate(runs):
        state = sentences.split(messages.headline(run.verdict))[0].rstrip(".")
        best = "" if run.best_step is None else f" · best {run.best_step}"
        key = f'<path class="ln" d="M1 7H33"/>{marks.reading(17, 7, k)}'
        yield (
            f'<label><input type="radio" name="focus" id="f{k}" data-n="{len(run.curve)}"{" checked" if not k else ""}>'
            f'<svg class="key run{k}" viewBox="0 0 34 14" aria-hidden="true">{key}</svg><span>{for_html(run.name)}</span>'
            f"<small>{mark(run)} {for_html(state)}{best}</small></label>"
        )
    yield "</fieldset>"


def _legend(runs: Sequence[RunView]) -> Iterator[str]:
    """Only what can be seen above."""
    points = [p for run in runs for p in run.curve]
    states = {state for run in runs for state in run.states.values()}
    ties = any(run.verdict.best and run.verdict.best.tied for run in runs)
    half = messages.against_references(runs[0].metric)
    rows = [
        (True, '<rect class="band" x="0" y="3" width="16" height="10"/>', "95 % interval of one evaluation"),
        (True, marks.reading(8, 8, 0, "pt", 4.0), "one evaluation"),
        (ties, marks.reading(8, 8, 0, "pt tied", 4.0), "tied with the best"),
        (any(run.best_step is not None for run in runs), marks.star(8, 8, 7), "best"),
        (half, '<path class="ref" d="M0 8H16"/>', "50%: as good as the references"),
        (True, '<circle class="fine" cx="8" cy="8" r="2.5"/>', "nothing to report"),
        ("warned" in states, marks.triangle(8, 8, "wrn"), "warned"),
        ("degraded" in states, marks.triangle(8, 8, "deg"), "degraded"),
        (ties, '<path class="tiebar" d="M0 8H16"/>', "tied with the best, in the row of states"),
        (
            any(run.headline_changes for run in runs),
            '<path class="whisk" d="M8 1V15"/>',
            "change from the best, 95 % for all evaluations together",
        ),
        (
            any(p.status == "partial" for p in points),
            marks.diamond(8, 8),
            "too few scored: shown, not compared",
        ),
        (any(p.status in ("failed", "skipped") for p in points), marks.cross(8, 8), "no number: a gap"),
        (
            any(a.segment != b.segment for run in runs for a, b in pairwise(run.curve)),
            '<path class="segline" d="M6.5 1V15M9.5 1V15"/>',
            "new set-up: not compared with what is before",
        ),
        (
            any(
                a.segment == b.segment and a.attempt != b.attempt
                for run in runs
                for a, b in pairwise(run.curve)
            ),
            '<path class="resume" d="M8 5V13"/>',
            "resumed",
        ),
    ]
    yield '<p class="legend run0">'
    for seen, drawn, text in rows:
        if seen:
            yield f'<span><svg viewBox="0 0 16 16" aria-hidden="true">{drawn}</svg>{text}</span>'
    yield "</p>"


def _notes(run: RunView) -> Iterator[str]:
    if run.headline_changes:
        yield (
            "Read “worse or not” off the lower panel. Its bars compare the same prompts and hold for all checkpoints "
            "at once; bands in the upper panel may overlap although two checkpoints differ."
        )
    parts = []
    if run.verdict.best is not None:
        parts.append(sentences.reads_high(run.verdict.best, len(run.compared), run.metric))
    parts.append(sentences.judge(run.judge))
    yield " ".join(part for part in parts if part)
    if len({p.segment for p in run.curve}) > 1:
        yield (
            "The prompts, the references, the reward model or the sampling changed on the way: "
            "earlier points are shown, and not compared."
        )


def _between(runs: Sequence[RunView]) -> Iterator[str]:
    """The best of the first run against the best of each other one, on the same prompts."""
    if len(runs) < 2:
        return
    first = runs[0]
    apart = [r for r in runs[1:] if not _comparable(first, r)]
    for other in runs[1:]:
        if other in apart:
            continue
        a, b = first.at(first.best_step), other.at(other.best_step)
        if a is None or b is None or first.metric not in a.values or first.metric not in b.values:
            continue
        change = stats.paired_change(
            b.values[first.metric],
            a.values[first.metric],
            clusters=first.clusters(len(a.values[first.metric])),
        )
        yield sentences.between_runs(first.name, other.name, (a.step, b.step), change, first.metric)
    if apart:
        yield sentences.apart([run.name for run in apart])


def _comparable(a: RunView, b: RunView) -> bool:
    return bool(a.curve and b.curve) and a.curve.segment_name == b.curve.segment_name and a.metric == b.metric


def _table(run: RunView, name: str) -> Iterator[str]:
    """What the picture shows, for those who do not see it."""
    changes, states = run.headline_changes, run.states
    yield (
        f'<details class="tbl"><summary>The same numbers as a table{for_html(name)}</summary>'
        '<div class="scroll" tabindex="0" role="region" aria-label="Numbers of the curve"><table>'
        f"<caption>{for_html(messages.label(run.metric)).capitalize()} at each evaluation, and its paired change from the "
        'best</caption><thead><tr><th scope="col">step</th><th scope="col">value</th>'
        '<th scope="col">95 % interval</th><th scope="col">n</th><th scope="col">change</th>'
        '<th scope="col">holds for all at once</th><th scope="col">state</th></tr></thead><tbody>'
    )
    for point in run.curve:
        e = point.metrics.get(run.metric, NOTHING)
        change = changes.get(point.step, NOTHING)
        compared = change.n > 0
        what = point.status if point.status != "ok" else states.get(point.step, "earlier set-up")
        if point.step == run.best_step:
            what = "best"
        reason = f": {point.reason[:300]}" if point.reason else ""
        yield (
            f'<tr><th scope="row">{point.step}</th><td>{messages.number(e.value, run.metric)}</td>'
            f"<td>{for_html(messages.interval(e, run.metric, n=False)) if e.n else '–'}</td><td>{e.n}</td>"
            f"<td>{sentences.signed(change.value, run.metric) if compared else '–'}</td>"
            f"<td>{sentences.span(change, run.metric) if compared else '–'}</td>"
            f"<td>{for_html(what + reason)}</td></tr>"
        )
    yield "</tbody></table></div></details>"
