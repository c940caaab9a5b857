"""``rm-monitor power``: before a run, what it will be able to see."""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import typer

from rm_monitor.cli.base import Json, app, echo

__all__ = ["power"]


@app.command()
def power(
    run: Annotated[
        Path | None,
        typer.Argument(
            help="The output_dir of a run like it: reckon with what that one shows.", metavar="RUN"
        ),
    ] = None,
    prompts: Annotated[
        int | None, typer.Option(help="Independent prompts, answered at each evaluation. [default: 128]")
    ] = None,
    evaluations: Annotated[
        int | None, typer.Option(help="Evaluations of the run, the first included. [default: 20]")
    ] = None,
    spread: Annotated[
        float | None,
        typer.Option(
            help="Spread over prompts of the difference of two checkpoints, far apart. [default: 0.31]"
        ),
    ] = None,
    near: Annotated[
        float | None, typer.Option(help="The same of neighbours. [default: two thirds of it]")
    ] = None,
    jitter: Annotated[
        float | None,
        typer.Option(
            help="What checkpoints differ by for no lasting reason, in points of win rate. [default: 0.7]"
        ),
    ] = None,
    seconds: Annotated[float | None, typer.Option(help="Seconds that one answer takes, scored.")] = None,
    as_json: Json = False,
) -> None:
    """The smallest lasting fall that a run of this size sees, and when more prompts stop helping.

    Example: rm-monitor power --prompts 256 --evaluations 40, or rm-monitor power out --prompts 256 to reckon
    with the spread, the jitter and the seconds of the run in out. What is given wins over what a run shows.
    Exit 0: fine. 1: that run is not there. 2: wrong use.
    """
    from rm_monitor.files.strict_json import dumps  # noqa: PLC0415  each command pays for itself only
    from rm_monitor.messages import planning  # noqa: PLC0415
    from rm_monitor.runs.planning import Basis, planned_by  # noqa: PLC0415
    from rm_monitor.stats import Spread, as_pool_score, as_win_rate, plan, worth_more_prompts  # noqa: PLC0415

    shown = Basis() if run is None else planned_by(run)
    basis = replace(
        shown,
        prompts=shown.prompts if prompts is None else prompts,
        evaluations=shown.evaluations if evaluations is None else evaluations,
        spread=Spread(
            shown.spread.far if spread is None else spread,
            near if near is not None else shown.spread.near if spread is None else math.nan,
        ),
        jitter=shown.jitter if jitter is None else as_pool_score(jitter / 100.0),
    )
    found = plan(basis.prompts, basis.evaluations, **basis.rules)
    enough = worth_more_prompts(basis.evaluations, **basis.rules)
    whole = basis.prompts * (shown.seconds / shown.prompts if seconds is None else seconds)
    if as_json:
        told = {**asdict(found), "visible_win_rate": as_win_rate(found.visible), "enough_prompts": enough}
        echo(dumps({**told, "spread": basis.spread.far, "near": basis.spread.near, "seconds": whole}))
        return
    echo(planning.planned(found, enough=enough))
    if shown.measured and spread is None:
        echo(planning.spread_shown(shown.spread, where=f"Checkpoints of {run}"))
    if shown.shown is not None and jitter is None:
        echo(planning.jitter_shown(shown.shown, where=str(run)))
    if math.isfinite(whole):
        echo(planning.cost(whole, basis.evaluations))
