"""``rm-monitor compare``: two points, prompt by prompt."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from rm_monitor.cli.app import Config, Json, app, echo

__all__ = ["compare"]


@app.command()
def compare(
    a: Annotated[
        str, typer.Argument(help="A step, RUN:STEP, a run (its latest step) or a file of completions.")
    ],
    b: Annotated[str, typer.Argument(help="What it is compared with, likewise.")],
    run: Annotated[Path, typer.Option(help="The run that bare steps belong to.")] = Path(),
    config: Config = None,
    as_json: Json = False,
) -> None:
    """How much better B is than A, prompt by prompt: the change with its interval, and what flipped."""
    from rm_monitor.runs import compare as compare_runs  # noqa: PLC0415

    report = compare_runs(a, b, run=run, config=config)
    echo(json.dumps(report.as_dict()) if as_json else str(report))
