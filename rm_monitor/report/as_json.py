"""A run as one JSON object."""

from __future__ import annotations

from typing import Any

from rm_monitor import messages
from rm_monitor.files import strict_json
from rm_monitor.report.plain import plain
from rm_monitor.report.view import RunView
from rm_monitor.types import Best

__all__ = ["as_json"]


def as_json(run: RunView) -> dict[str, Any]:
    """Verdict, best and every point, in the names of the Python API; unknown is null."""
    verdict = run.verdict
    return {
        "name": run.name,
        "metric": run.metric,
        "state": verdict.state,
        "step": verdict.step,
        "headline": messages.headline(verdict),
        "reason": verdict.reason,
        "since": verdict.since,
        "against": list(verdict.against),
        "drop": plain(verdict.drop),
        "change": plain(verdict.change),
        "gain": plain(verdict.gain),
        "p": strict_json.plain(verdict.p),
        "false_alarms": strict_json.plain(verdict.false_alarms),
        "best": _best(verdict.best),
        "best_on_disk": _best(run.best),
        "curve": [
            {
                "step": p.step,
                "status": p.status,
                "reason": p.reason,
                "state": run.states.get(p.step) if p.segment == run.curve.segment_name else None,
                "checkpoint": p.checkpoint,
                "segment": p.segment,
                "metrics": {name: plain(e) for name, e in p.metrics.items()},
                "change_from_best": plain(run.headline_changes.get(p.step)),
            }
            for p in run.curve
        ],
        "facts": dict(run.facts),
    }


def _best(best: Best | None) -> dict[str, Any] | None:
    if best is None:
        return None
    return {
        "step": best.step,
        "value": plain(best.value),
        "checkpoint": best.checkpoint,
        "p_best": strict_json.plain(best.p_best),
        "tied": list(best.tied),
    }
