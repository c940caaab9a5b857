"""Answers, side by side: two checkpoints on the same prompt, the largest falls first."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from rm_monitor import messages
from rm_monitor.messages import page as sentences
from rm_monitor.report.curves import spark
from rm_monitor.report.view import RunView
from rm_monitor.text.escape import for_html
from rm_monitor.types import Completion, FloatArray, Table

__all__ = ["LONGEST", "MOST", "answers", "tools"]

MOST = 256  # prompts embedded, unless more are asked for: 2,048 make a page of 4 MB
LONGEST = 8_000  # characters of an answer


@dataclass(frozen=True, slots=True)
class _Sides:
    """Two evaluations of the same prompts.

    Attributes:
        steps: Earlier and later, or as the user chose.
        tables: Their completions.
        values: Their per-prompt values of the headline metric, each ``(n,)``.
        change: ``(n,)``, the second minus the first.
        order: Rows, the largest falls first, unknown ones last.
    """

    steps: tuple[int, int]
    tables: tuple[Table, Table]
    values: tuple[FloatArray, FloatArray]
    change: FloatArray
    order: list[int]


def answers(run: RunView, k: int, *, most: int | None = MOST) -> Iterator[str]:
    """The section of one run.

    Args:
        run: The run.
        k: Its number on the page.
        most: Prompts that are embedded; None: all.
    """
    sides = _sides(run)
    if sides is None:
        return
    a, b = sides.steps
    n, change = len(sides.change), sides.change
    kinds = [_kind(float(d), run.metric) for d in change]
    worse, better = kinds.count("worse"), kinds.count("better")
    rows = _chosen(sides.order, most)
    if a == b:
        yield f'<p class="note">Step {a} is the best and the latest: its answers beside the references.</p>'
    else:
        yield f'<p class="note">{sentences.counts(a, b, worse, better, n - worse - better)}'
        yield " Single prompts are noisy: read several before you believe one.</p>"
    if len(rows) < n:
        yield (
            f'<p class="note">{len(rows)} of {n} prompts are shown: the largest falls, the largest gains, and others '
            "by chance. <code>rm-monitor report --rows all</code> writes them all.</p>"
        )
    yield f'<div class="rows" data-run="{k}">'
    by_row = _sparks(run)
    yield from (_row(run, sides, i, by_row, k) for i in rows)
    yield "</div>"


def tools(runs: Sequence[RunView]) -> Iterator[str]:
    """Search and order, for readers whose browser runs the script; hidden otherwise."""
    tags = sorted({tag for run in runs for prompt in run.prompts for tag in prompt.tags})
    yield (
        '<div class="tools" id="tools" role="search" aria-label="Answers" hidden>'
        '<label>Search <input type="search" id="find" placeholder="prompt or answer" autocomplete="off"></label>'
    )
    if tags:
        options = "".join(f'<option value="{for_html(tag)}">{for_html(tag)}</option>' for tag in tags)
        yield f'<label>Tag <select id="tag"><option value="">all</option>{options}</select></label>'
    yield (
        '<label>Show <select id="kind"><option value="">all</option><option value="worse">worse</option>'
        '<option value="better">better</option><option value="same">same</option></select></label>'
        '<label>Order <select id="order"><option value="d">largest drop</option><option value="-d">largest gain</option>'
        '<option value="b">lowest now</option><option value="i">as given</option></select></label>'
        '<label class="tick"><input type="checkbox" id="marks"> mark what changed</label>'
        '<output id="count" for="find"></output></div>'
        '<p class="note" id="keys" hidden>Keys: <kbd>/</kbd> search, <kbd>j</kbd> and <kbd>k</kbd> next and previous answer.</p>'
        '<p class="note" id="moved" role="status"></p>'
    )


# --------------------------------------------------------------------------- which two, which rows


def _sides(run: RunView) -> _Sides | None:
    asked = run.sides or _usual(run)
    if asked is None or any(step not in run.tables for step in asked):
        return None
    first, second = (run.tables[step] for step in asked)
    if first.prompt_ids != second.prompt_ids or not first.prompt_ids:
        return None
    values = tuple(_values(table, run.metric) for table in (first, second))
    change = values[1] - values[0]
    reward = _values(second, "reward") - _values(first, "reward")
    order = sorted(range(len(change)), key=lambda i: (_last(float(change[i])), _last(float(reward[i])), i))
    if asked[0] == asked[1]:
        order = sorted(range(len(change)), key=lambda i: (_last(float(values[1][i])), i))
    return _Sides(asked, (first, second), (values[0], values[1]), change, order)


def _usual(run: RunView) -> tuple[int, int] | None:
    """The best and the latest that has answers."""
    if not run.tables:
        return None
    latest = max(run.tables)
    return (run.best_step if run.best_step in run.tables else min(run.tables), latest)  # type: ignore[return-value]


def _values(table: Table, metric: str) -> FloatArray:
    values = table.values.get(metric)
    if values is None:
        return np.full(len(table.prompt_ids), np.nan)
    known = ~np.isnan(values)
    count = known.sum(axis=1)
    return np.where(count > 0, np.where(known, values, 0.0).sum(axis=1) / np.maximum(count, 1), np.nan)


def _last(value: float) -> float:
    return float(value) if math.isfinite(value) else math.inf


def _chosen(order: Sequence[int], most: int | None) -> list[int]:
    """Three eighths the largest falls, a quarter the largest gains, the rest by chance from a fixed seed."""
    if most is None or len(order) <= most:
        return list(order)
    falls, gains = most * 3 // 8, most // 4
    middle = list(order[falls : len(order) - gains])
    drawn = np.random.default_rng(0).choice(len(middle), most - falls - gains, replace=False)
    keep = {*order[:falls], *order[len(order) - gains :], *(middle[i] for i in drawn)}
    return [i for i in order if i in keep]


# --------------------------------------------------------------------------- one prompt


def _sparks(run: RunView) -> tuple[list[FloatArray | None], int | None]:
    """Per-prompt values of each point of the latest segment, None at gaps; which of them is the best's."""
    if not messages.is_share(run.metric) or not run.compared:
        return [], None
    size = run.compared[-1].values[run.metric].shape
    points = run.curve.segment()
    rows = [p.values.get(run.metric) for p in points]
    best = next((i for i, p in enumerate(points) if p.step == run.best_step), None)
    return [r if r is not None and r.shape == size else None for r in rows], best


def _row(
    run: RunView, sides: _Sides, i: int, by_row: tuple[list[FloatArray | None], int | None], k: int
) -> str:
    metric, d = run.metric, float(sides.change[i])
    prompt = run.prompts[i] if i < len(run.prompts) else None
    text = prompt.text if prompt is not None else f"prompt {sides.tables[1].prompt_ids[i]}"
    tags = prompt.tags if prompt is not None else ()
    kind = _kind(d, metric)
    shape = {"worse": "▼", "better": "▲", "same": "="}[kind]
    rows, best = by_row
    line = spark([math.nan if r is None else float(r[i]) for r in rows], best) if len(rows) > 1 else ""
    pair = sides.steps[0] != sides.steps[1]
    before, now = (_short(float(v[i]), metric) for v in sides.values)
    head = f'<span class="d {kind}">{shape} {_delta(d, metric)}</span>' if pair else ""
    cells = [
        head,
        f'<span class="q" dir="auto">{for_html(" ".join(text[:200].split()))}</span>',
        f'<span class="tg">{for_html(tags[0])}</span>' if tags else "<span></span>",
        line or "<span></span>",
        f'<span class="num">{before} → {now}</span>' if pair else f'<span class="num">{now}</span>',
    ]
    place = f"{f'run{k}-' if k else ''}step-{sides.steps[1]}-prompt-{(prompt.row if prompt else 0) or i + 1}"
    body = [_prompt(text, place)]
    for which, step in enumerate(dict.fromkeys(sides.steps)):
        value = messages.number(float(sides.values[which][i]), metric)
        role = _role(run, step)
        note = f"{role} · {messages.label(metric)} {value}" if role else f"{messages.label(metric)} {value}"
        body.append(
            _side(
                f"Step {step}",
                note + _samples(sides.tables[which], i),
                sides.tables[which].completions[i][0],
                side=which if pair else None,
            )
        )
    if run.references is not None and i < len(run.references.completions):
        body.append(_side("Reference", for_html(run.references.name), run.references.completions[i]))
    tag = "".join(f" {for_html(t)}" for t in tags)
    numbers = f'data-d="{_plain(d)}" data-b="{_plain(float(sides.values[1][i]))}" data-i="{i}"'
    return (
        f'<details class="row{"" if pair else " one"}" data-kind="{kind}" data-tag="{tag} " {numbers}>'
        f'<summary>{"".join(cells)}</summary><div class="sides" id="{place}">{"".join(body)}</div></details>'
    )


def _prompt(text: str, place: str) -> str:
    """What is asked; a link to it opens this very row, without a script too."""
    return f'<div class="whole"><h3>Prompt <small><a href="#{place}">link</a></small></h3>{_text(text)}</div>'


def _side(title: str, note: str, said: Completion, side: int | None = None) -> str:
    """An answer; what was thought before it is folded, and above it as it was said."""
    tokens = f", {said.reasoning_tokens} tokens" if said.reasoning_tokens > 0 else ""
    thought = f"<details><summary>Reasoning{tokens}</summary>{_text(said.reasoning)}</details>"
    thought = thought if said.reasoning or tokens else ""
    return f"<div><h3>{title} <small>{note}</small></h3>{thought}{_text(said.text, side)}</div>"


def _kind(d: float, metric: str) -> str:
    """Which way a prompt went; what is shown as no change is none."""
    if not math.isfinite(d) or _delta(d, metric).strip("0.") == "":
        return "same"
    return "worse" if d < 0 else "better"


def _role(run: RunView, step: int) -> str:
    latest = run.curve[-1].step if run.curve else None
    return " and ".join(n for n, s in (("best", run.best_step), ("latest", latest)) if s == step)


def _samples(table: Table, i: int) -> str:
    k = len(table.completions[i])
    return f" · the first of {k} answers" if k > 1 else ""


def _text(text: str, side: int | None = None) -> str:
    """Text of a model: inert, in its own direction, never rendered."""
    if not text:
        return '<p class="none">(empty answer)</p>'
    if not text.strip():
        return f'<p class="none">(only white space: {len(text)} characters)</p>'
    cut = "" if len(text) <= LONGEST else f'<p class="none">… and {len(text) - LONGEST} more characters</p>'
    which = "" if side is None else f' data-side="{side}"'
    return f'<div class="text" dir="auto" tabindex="0"{which}>{for_html(text[:LONGEST])}</div>{cut}'


def _delta(d: float, metric: str) -> str:
    if not math.isfinite(d):
        return "?"
    return f"{abs(100 * d):.0f}" if messages.is_share(metric) else f"{abs(d):.2f}"


def _short(value: float, metric: str) -> str:
    if not math.isfinite(value):
        return "unknown"
    return f"{100 * value:.0f}" if messages.is_share(metric) else messages.number(value, metric)


def _plain(value: float) -> str:
    """For the script, which sorts by it; unknown comes last."""
    return f"{value:.4f}" if math.isfinite(value) else "9"
