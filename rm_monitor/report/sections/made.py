"""How this was made: what every number above depends on, and what failed."""

from __future__ import annotations

from collections.abc import Iterator

from rm_monitor.report.view import RunView
from rm_monitor.text.escape import for_html

__all__ = ["made"]


def made(run: RunView) -> Iterator[str]:
    """The facts, the failures with their reasons, the false-alarm rate."""
    failed = [p for p in run.curve if p.status in ("failed", "skipped")]
    seconds = sum(p.measured.get("seconds", 0.0) for p in run.curve)
    count = f"{len(run.curve)}, {len(failed)} without a number; {_took(seconds)} in all"
    yield "<section><h2>How this was made</h2><dl>"
    for name, text in {**run.facts, "evaluations": count}.items():
        yield f"<dt>{for_html(name.replace('_', ' '))}</dt><dd>{for_html(text)}</dd>"
    rate = round(100 * run.verdict.false_alarms)
    yield f"<dt>false alarms</dt><dd>about {rate} in 100 healthy runs raise the present kind of alarm once</dd>"
    yield (
        "<dt>the alarm</dt><dd>compares each checkpoint's answers with all of the run's own answers, prompt by prompt, "
        "in windows, at every evaluation; what it has spent of its false alarms is counted</dd>"
    )
    for point in failed:
        yield f"<dt>step {point.step}</dt><dd>{for_html(point.status)}: {for_html(point.reason[:500])}</dd>"
    yield "</dl></section>"


def _took(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 120 else f"{seconds:.0f} s"
