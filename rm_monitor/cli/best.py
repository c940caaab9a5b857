"""``rm-monitor best``: the path of the checkpoint to use."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rm_monitor.cli.base import Json, app, echo
from rm_monitor.files.strict_json import dumps

__all__ = ["best"]


@app.command()
def best(folder: Annotated[Path, typer.Argument(help="A run's output_dir.")], as_json: Json = False) -> None:
    """Print the path of the best checkpoint of a run."""
    from rm_monitor.runs import best_of  # noqa: PLC0415  each command pays for itself only

    found = best_of(folder)
    if found is None:
        echo(f"no best checkpoint is kept in {folder}/_rm_monitor", err=True)
        raise typer.Exit(1)
    echo(dumps(found) if as_json else found["path"])
