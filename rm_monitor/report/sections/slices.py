"""Where it went: one small picture a tag, an attribute or a further reference set, worst first."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from rm_monitor import messages, stats
from rm_monitor.messages import page as sentences
from rm_monitor.report.frame import padded
from rm_monitor.report.mini import mini
from rm_monitor.report.view import NOTHING, RunView, known
from rm_monitor.text.escape import for_html
from rm_monitor.types import Estimate, FloatArray

__all__ = ["slices"]

MOST = 24  # pictures of a kind; the worst stay


def slices(run: RunView) -> Iterator[str]:
    """By tag, by attribute, by reference set."""
    names = list(dict.fromkeys(m for p in run.shown for m in p.metrics))
    tags = [m for m in names if m.startswith(f"{run.metric}@")]
    attributes = [m for m in names if m.startswith("attribute/")]
    others = [m for m in names if m.startswith(f"{run.metric}/") and "@" not in m]
    yield from _section(
        run,
        tags,
        "Where it went: by tag",
        "Worst first; grey is all prompts. n is small and bands are wide: a tag is a hint where to read, not a verdict.",
        behind=run.metric,
    )
    yield from _section(
        run,
        attributes,
        "What the reward model scores: by attribute",
        "Each on its own scale, as the reward model gives it.",
        shared=False,
    )
    yield from _section(
        run,
        others,
        "Against other references",
        f"Grey is against {run.references.name if run.references else 'the first references'}.",
        behind=run.metric,
    )


def _section(
    run: RunView, metrics: Sequence[str], title: str, note: str, *, behind: str = "", shared: bool = True
) -> Iterator[str]:
    if not metrics:
        return
    changes = {metric: _change(run, metric) for metric in metrics}
    ranked = sorted(metrics, key=lambda m: (math.isnan(changes[m].value), changes[m].value, m))[:MOST]
    yield f'<section><h2>{title}</h2><p class="note">{for_html(note)}</p><div class="grid8">'
    ranges = {m: _range(run, [m]) for m in ranked}
    common = _range(run, ranked) if shared else (0.0, 1.0)
    for metric in ranked:
        name = metric.rpartition("@")[2] if "@" in metric else metric.partition("/")[2]
        yield mini(
            run,
            metric,
            common if shared else ranges[metric],
            title=name,
            caption=_caption(run, metric, changes[metric]),
            behind=behind,
        )
    left = len(metrics) - len(ranked)
    yield "</div>" + (f'<p class="note">{left} more are not shown.</p>' if left else "") + "</section>"


def _range(run: RunView, metrics: Sequence[str]) -> tuple[float, float]:
    share = messages.is_share(metrics[0])
    estimates = [p.metrics[m] for p in run.shown for m in metrics if known(p, m)]
    return padded(estimates, always=[0.5] if messages.against_references(run.metric) else [], share=share)


def _change(run: RunView, metric: str) -> Estimate:
    """Of the latest compared point from the best, on the prompts of this slice."""
    base, _, tag = metric.partition("@")
    best, now = run.row(run.best_step or 0, base), _latest_row(run, base)
    if best is None or now is None or best.shape != now.shape:
        return NOTHING
    clusters = run.clusters(len(now))
    if tag:
        if len(run.prompts) != len(now):
            return NOTHING
        rows = [i for i, prompt in enumerate(run.prompts) if tag in prompt.tags]
        best, now = best[rows], now[rows]
        clusters = None if clusters is None else clusters[rows]
    return stats.paired_change(best, now, clusters=clusters)


def _latest_row(run: RunView, metric: str) -> FloatArray | None:
    return run.compared[-1].values.get(metric) if run.compared else None


def _caption(run: RunView, metric: str, change: Estimate) -> str:
    last = next((p for p in reversed(run.shown) if known(p, metric)), None)
    if last is None:
        return ""
    e = last.metrics[metric]
    if not math.isfinite(change.value) or last.step == run.best_step:
        return f"{messages.number(e.value, metric)} ({messages.interval(e, metric)})"
    return sentences.difference(change, metric, f"since step {run.best_step}")
