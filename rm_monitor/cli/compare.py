"""``rm-monitor compare``: two points, prompt by prompt."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

import typer

from rm_monitor.cli.base import Config, ExitCode, Json, app, echo
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
    show: Annotated[
        int, typer.Option(help="Print so many prompts with both answers side by side, what fell most first.")
    ] = 0,
    exit_code: ExitCode = False,
    as_json: Json = False,
) -> None:
    """How much better B is than A, prompt by prompt: the change with its interval, and what flipped.

    Exit 0: fine. 1: one is not there, or with --exit-code B is measurably worse. 2: wrong use, or it failed.
    """
    from rm_monitor.runs import compare as compare_runs  # noqa: PLC0415

    report = compare_runs(a, b, run=run, config=config, show=show)
    if as_json:
        echo(dumps(report.as_dict()))
    else:
        from rm_monitor.runs.beside import beside  # noqa: PLC0415

        echo(str(report))
        width = min(shutil.get_terminal_size((100, 24)).columns, 160)
        for pair in report.pairs:
            echo(f"\n{'-' * width}\n{beside(pair, width=width)}")
    raise typer.Exit(1 if exit_code and report.is_worse else 0)
