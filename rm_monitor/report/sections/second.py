"""A second opinion: what the other judges say of the same two checkpoints."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from rm_monitor import messages, stats
from rm_monitor.messages import page as sentences
from rm_monitor.report.frame import padded
from rm_monitor.report.mini import mini
from rm_monitor.report.view import RunView, known
from rm_monitor.text.escape import prose

__all__ = ["second"]


def second(run: RunView) -> Iterator[str]:
    """One sentence a judge, then the judges on one scale, the first in grey behind."""
    judges = _judges(run)
    if not judges:
        return
    yield "<section><h2>Second opinion</h2>"
    yield from (f"<p>{prose(text)}</p>" for text in (_sentence(run, j, m) for j, m in judges.items()) if text)
    metrics = [run.metric, *judges.values()]
    share = messages.is_share(run.metric)
    y = padded(
        [p.metrics[m] for p in run.shown for m in metrics if known(p, m)],
        always=[0.5] if messages.against_references(run.metric) else [],
        share=share,
    )
    yield '<div class="two">'
    for name, metric in [(f"First: {run.judge}", run.metric), *judges.items()]:
        behind = "" if metric == run.metric else run.metric
        yield mini(
            run,
            metric,
            y,
            title=name,
            caption=_caption(run, metric, grey=bool(behind)),
            behind=behind,
            width=460,
            height=190,
        )
    yield "</div></section>"


def _judges(run: RunView) -> dict[str, str]:
    """Name of each further judge, and its headline metric."""
    found: dict[str, str] = {}
    for point in run.shown:
        for metric in point.metrics:
            name, _, rest = metric.partition("/")
            if rest == run.metric:
                found.setdefault(name, metric)
    return found


def _sentence(run: RunView, name: str, metric: str) -> str:
    """Of the latest checkpoint against the best one; nothing while the latest is the best."""
    if run.best_step is None or not run.compared or run.compared[-1].step == run.best_step:
        return ""
    now = run.compared[-1]
    before, after = run.row(run.best_step, metric), now.values.get(metric)
    if before is None or after is None or before.shape != after.shape or not np.isfinite(after).any():
        return ""
    change = stats.paired_change(before, after, clusters=run.clusters(len(after)))
    own = run.headline_changes.get(now.step)
    fell = run.verdict.state in ("degraded", "warned") or (own is not None and own.high < 0)
    return sentences.second_opinion(name, change, run.metric, run.best_step, now.step, fell=fell)


def _caption(run: RunView, metric: str, *, grey: bool) -> str:
    best, points = run.at(run.best_step), [p for p in run.shown if known(p, metric)]
    ends = [p for p in (best, points[-1] if points else None) if p is not None and known(p, metric)]
    texts = [messages.number(p.metrics[metric].value, run.metric) for p in ends]
    return " → ".join(dict.fromkeys(texts)) + ("; grey is the first judge" if grey else "")
