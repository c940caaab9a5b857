"""The curve as a Vega-Lite specification, data inside: for editors, papers and notebooks."""

from __future__ import annotations

from typing import Any

from rm_monitor.curve.metrics import METRICS
from rm_monitor.files.strict_json import plain
from rm_monitor.runs.read import RecordedRun

__all__ = ["vega_lite"]

SCHEMA = "https://vega.github.io/schema/vega-lite/v5.json"


def vega_lite(run: RecordedRun) -> dict[str, Any]:
    """The headline over steps: its band, its line, the best marked; a gap breaks the line.

    Returns:
        A JSON object; https://vega.github.io/editor opens it.
    """
    best = None if run.verdict.best is None else run.verdict.best.step
    values = []
    for point in run.curve:
        estimate = point.metrics.get(run.metric)
        value, low, high, n = (None, None, None, 0) if estimate is None else estimate
        values.append(
            {
                "step": point.step,
                "value": plain(value),
                "low": plain(low),
                "high": plain(high),
                "n": n,
                "best": point.step == best,
                "status": point.status,
            }
        )
    metric = METRICS.get(run.metric)
    percent = metric is not None and metric.kind != "number"
    y = {"type": "quantitative", "title": run.metric, "scale": {"zero": False}}
    axis = {"axis": {"format": "%"}} if percent else {}
    step = {"field": "step", "type": "quantitative", "title": "step"}
    return {
        "$schema": SCHEMA,
        "title": {"text": run.name, "subtitle": run.verdict.reason},
        "width": 640,
        "height": 320,
        "data": {"values": values},
        "encoding": {"x": step},
        "layer": [
            {
                "mark": {"type": "area", "opacity": 0.2},
                "encoding": {"y": {"field": "low", **y, **axis}, "y2": {"field": "high"}},
            },
            {
                "mark": {"type": "line", "invalid": "break-paths-show-path-domains", "point": True},
                "encoding": {
                    "y": {"field": "value", **y, **axis},
                    "tooltip": [{"field": name} for name in ("step", "value", "low", "high", "n", "status")],
                },
            },
            {
                "transform": [{"filter": "datum.best"}],
                "mark": {"type": "text", "text": "\N{BLACK STAR}", "dy": -14, "fontSize": 18},
                "encoding": {"y": {"field": "value", **y}},
            },
        ],
    }
