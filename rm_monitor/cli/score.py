"""``rm-monitor score``: a file of completions, no model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rm_monitor.cli.base import Json, app, echo
from rm_monitor.files.strict_json import dumps

__all__ = ["score"]


@app.command()
def score(
    completions: Annotated[
        str, typer.Argument(help="FILE of rows with a prompt or id and a completion; or FILE:COLUMN.")
    ],
    config: Annotated[Path, typer.Option(help="YAML file with the settings of RewardMonitor.")],
    as_json: Json = False,
) -> None:
    """Judge a file of completions against references; no model is needed."""
    from rm_monitor.report.plain import plain  # noqa: PLC0415  each command pays for itself only
    from rm_monitor.runs import score_file  # noqa: PLC0415

    point, _, _ = score_file(completions, config)
    if as_json:
        echo(dumps({name: plain(e) for name, e in point.metrics.items()}))
        return
    for name, (value, low, high, n) in point.metrics.items():
        echo(f"{name:28} {value:9.4f}   {low:9.4f} to {high:9.4f}   n {n}")
