"""The page: words first, then the curve, then the answers. One file, no script, no network."""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from rm_monitor import stats, words
from rm_monitor.escape import for_html
from rm_monitor.report.style import PAGE
from rm_monitor.report.svg import change_panel, level_panel
from rm_monitor.types import Best, Estimate, EvalPoint, FloatArray, Prompt, ReferenceSet, Table, Verdict

__all__ = ["RunView", "page"]

MOST_PROMPTS = 256
LONGEST = 8_000
TELLS = ("length", "truncated", "empty", "repetition", "duplicates", "entropy", "top10_mass", "tie_rate")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunView:
    """What the page shows of a run.

    Attributes:
        name: Of the run, for people.
        tables: Step -> completions; the best and the latest are shown side by side.
        facts: Name -> text, for "How this was made".
    """

    name: str
    metric: str
    curve: Sequence[EvalPoint]
    verdict: Verdict
    best: Best | None
    prompts: Sequence[Prompt] = ()
    references: ReferenceSet | None = None
    tables: Mapping[int, Table] = field(default_factory=dict)
    facts: Mapping[str, str] = field(default_factory=dict)


def page(run: RunView) -> str:
    """The whole page; the same run gives the same bytes."""
    body = "".join([*_verdict(run), *_curve(run), *_tells(run), *_answers(run), *_facts(run)])
    digest = base64.b64encode(hashlib.sha256(PAGE.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="referrer" content="no-referrer">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{for_html(words.headline(run.verdict))} · {for_html(run.name)}</title><style>"
        f"{PAGE}</style></head>"
        f"<body><main>{body}</main></body></html>\n"
    )


def _verdict(run: RunView) -> Iterator[str]:
    mark = {"degraded": "▼", "warned": "▽", "improving": "★", "recovered": "○", "unknown": "×"}.get(
        run.verdict.state, "●"
    )
    yield f'<p class="muted">{for_html(run.name)}</p>'
    yield f'<h1 class="{run.verdict.state}">{mark} {for_html(words.headline(run.verdict))}</h1>'
    yield f"<p>{for_html(words.why(run.verdict, metric=run.metric))}</p>"
    yield f"<p><b>{for_html(words.todo(run.verdict, run.best))}</b></p>"


def _curve(run: RunView) -> Iterator[str]:
    yield f"<section><h2>{for_html(words.label(run.metric)).capitalize()} while training</h2>"
    yield level_panel(run.curve, run.verdict, run.best, run.metric)
    changes = _changes(run)
    panel = change_panel(changes, run.metric)
    if panel:
        assert run.verdict.best is not None
        yield (
            f'<p class="muted">Change from step {run.verdict.best.step}, paired by prompt: '
            "worse or not is read here, not from bands that overlap.</p>"
        )
        yield panel
    yield (
        '<p class="muted">Each band is a 95 % interval of its own point. '
        "The best was chosen because it reads high.</p>"
    )
    yield (
        "<details><summary>The same numbers as a table</summary><div class=scroll><table><tr><th>"
        "step<th>status<th>value<th>95 % interval<th>n</tr>"
    )
    for point in run.curve:
        e = point.metrics.get(run.metric, Estimate(math.nan, math.nan, math.nan, 0))
        what = point.status if not point.reason else f"{point.status}: {point.reason[:300]}"
        yield (
            f"<tr><td>{point.step}<td>{for_html(what)}<td>{words.number(e.value, run.metric)}"
            f"<td>{for_html(words.interval(e, run.metric, n=False))}<td>{e.n}</tr>"
        )
    yield "</table></div></details></section>"


def _changes(run: RunView) -> list[tuple[int, Estimate]]:
    """Paired change of each comparable point from the best one."""
    best = run.verdict.best
    last = run.curve[-1].segment if run.curve else ""
    points = [p for p in run.curve if p.segment == last and p.status == "ok" and run.metric in p.values]
    origin = next((p for p in points if best is not None and p.step == best.step), None)
    if origin is None:
        return []
    return [
        (p.step, stats.paired_change(origin.values[run.metric], p.values[run.metric]))
        for p in points
        if p is not origin
    ]


def _tells(run: RunView) -> Iterator[str]:
    known = [p for p in run.curve if p.metrics]
    names = [
        n
        for n in (*TELLS, *(m for m in (known[-1].metrics if known else ()) if "@" in m or "/" in m))
        if known and n in known[-1].metrics
    ]
    if not names:
        return
    yield "<section><h2>What else moved</h2><div class=scroll><table><tr><th><th>start<th>best<th>now</tr>"
    best = next(
        (p for p in known if run.verdict.best is not None and p.step == run.verdict.best.step), known[-1]
    )
    for name in names:
        cells = "".join(f"<td>{_plain(p.metrics.get(name), name)}" for p in (known[0], best, known[-1]))
        yield f"<tr><td>{for_html(name)}{cells}</tr>"
    yield "</table></div></section>"


def _plain(e: Estimate | None, name: str) -> str:
    return "unknown" if e is None else words.number(e.value, name)


def _answers(run: RunView) -> Iterator[str]:
    """The best's and the latest's answers side by side, the largest falls first."""
    steps = sorted(run.tables)
    if not steps or not run.prompts:
        return
    latest = run.tables[steps[-1]]
    chosen = (
        run.verdict.best.step
        if run.verdict.best is not None and run.verdict.best.step in run.tables
        else steps[0]
    )
    best = run.tables[chosen]
    difference = _deciding(latest, run.metric) - _deciding(best, run.metric)
    order = sorted(
        range(len(latest.prompt_ids)), key=lambda i: (math.isnan(difference[i]), difference[i], i)
    )[:MOST_PROMPTS]
    worse, better = int((difference < 0).sum()), int((difference > 0).sum())
    yield (
        f"<section><h2>Answers, side by side</h2><p>Step {steps[-1]} is worse than step {chosen} on "
        f"{worse} prompts and better on {better}."
    )
    yield f" {len(order)} of {len(difference)} prompts are shown, the largest falls first.</p>"
    for i in order:
        sign = "▼" if difference[i] < 0 else "▲" if difference[i] > 0 else "="
        yield (
            f"<details><summary>{sign} {for_html(run.prompts[i].text[:120])}</summary><p>"
            f"{for_html(run.prompts[i].text[:LONGEST])}</p><div class=pair>"
        )
        yield f"<div><b>Step {chosen}</b>{_answer(best.completions[i][0].text)}</div>"
        yield f"<div><b>Step {steps[-1]}</b>{_answer(latest.completions[i][0].text)}</div></div>"
        if run.references is not None:
            yield f"<b>Reference</b>{_answer(run.references.completions[i].text)}"
        yield "</details>"
    yield "</section>"


def _answer(text: str) -> str:
    if not text:
        return '<div class="answer muted">(empty answer)</div>'
    if not text.strip():
        return f'<div class="answer muted">(only white space: {len(text)} characters)</div>'
    cut = "" if len(text) <= LONGEST else f"\n… {len(text) - LONGEST} more characters"
    return f'<div class="answer" dir="auto" tabindex="0">{for_html(text[:LONGEST] + cut)}</div>'


def _deciding(table: Table, metric: str) -> FloatArray:
    values = table.values.get("reward", table.values.get(metric))
    return np.full(len(table.prompt_ids), np.nan) if values is None else np.nanmean(values, axis=1)


def _facts(run: RunView) -> Iterator[str]:
    yield "<section><h2>How this was made</h2><table>"
    for name, text in run.facts.items():
        yield f"<tr><td>{for_html(name.replace('_', ' '))}<td>{for_html(text)}</tr>"
    yield (
        f"<tr><td>false alarms<td>about {round(100 * run.verdict.false_alarms)} in 100 healthy "
        f"runs</tr></table>"
    )
    yield (
        '<p class="muted">The judge is a reward model: '
        "this page says what it prefers, not what is true.</p></section>"
    )
