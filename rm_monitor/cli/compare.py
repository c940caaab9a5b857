"""``rm-monitor compare``: two points, prompt by prompt."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rm_monitor.cli.base import Config, Json, app, echo
from rm_monitor.files.strict_json import dumps

__all__ = ["compare"]


@app.command()
def compare(
    a: Annotated[
        str,
        typer.Argument(
            help="A step, best, RUN:STEP, a run (its latest step), or completions: FILE or FILE:COLUMN."
        ),
    ],
    b: Annotated[str, typer.Argument(help="What it is compared with, likewise.")],
    run: Annotated[Path, typer.Option(help="The run that bare steps belong to.")] = Path(),
    config: Config = None,
    as_json: Json = False,
) -> None:
    """How much better B is than A, prompt by prompt: the change with its interval, and what flipped.

    Exit 0: fine. 1: B is measurably worse than A, or one is not there. 2: wrong use, or it failed.
    """
    from rm_monitor.runs import compare as compare_runs  # noqa: PLC0415

    report = compare_runs(a, b, run=run, config=config)
    echo(dumps(report.as_dict()) if as_json else str(report))
    raise typer.Exit(1 if report.is_worse else 0)
