"""``rm-monitor report``: the curve as a page, as Markdown or as JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rm_monitor.cli.base import Json, app, echo

__all__ = ["report"]


@app.command()
def report(
    folders: Annotated[list[Path], typer.Argument(help="Output directories of runs; the first is in focus.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Where the page goes; by default beside the first run."),
    ] = None,
    sides: Annotated[
        tuple[int, int] | None,
        typer.Option("--compare", help="Two steps of the first run to lay side by side."),
    ] = None,
    rows: Annotated[str, typer.Option(help="Prompts whose answers are embedded: a number, or all.")] = "256",
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Print Markdown for a model card instead.")
    ] = False,
    as_json: Json = False,
    exit_code: Annotated[
        bool, typer.Option("--exit-code", help="Exit 1 if a run is degraded, as `git diff --exit-code`.")
    ] = False,
) -> None:
    """Write a run, or several together, as one self-contained page.

    Exit 0: written. 1: a run is not there, or with --exit-code degraded. 2: wrong use, or it failed.
    """
    from rm_monitor.runs.report import report as write  # noqa: PLC0415  each command pays for itself only

    done = write(
        folders,
        output=output,
        sides=sides,
        rows=rows,
        form="markdown" if markdown else "json" if as_json else "page",
    )
    if done.warning:
        echo(f"rm-monitor: {done.warning}", err=True)
    echo(done.text if done.path is None else str(done.path))
    raise typer.Exit(1 if exit_code and done.degraded else 0)
