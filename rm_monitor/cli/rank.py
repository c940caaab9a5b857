"""``rm-monitor rank``: which of several runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rm_monitor.cli.base import Json, app, echo
from rm_monitor.files.strict_json import dumps

__all__ = ["rank"]


@app.command()
def rank(
    runs: Annotated[list[Path], typer.Argument(help="Output directories of two runs or more.")],
    as_json: Json = False,
) -> None:
    """The best checkpoints of runs against each other, on the same prompts: which to take, which are tied.

    Exit 0: fine. 1: a run or its best is not there. 2: wrong use, or the runs were not measured alike.
    """
    from rm_monitor.runs.ranking import rank as rank_runs  # noqa: PLC0415  each command pays for itself only

    ranking = rank_runs(runs)
    echo(dumps(ranking.as_dict()) if as_json else str(ranking))
