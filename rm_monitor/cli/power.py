"""``rm-monitor power``: before a run, what it will be able to see."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from rm_monitor.cli.base import Json, app, echo

__all__ = ["power"]


@app.command()
def power(
    prompts: Annotated[int, typer.Option(help="Independent prompts, answered at each evaluation.")] = 128,
    evaluations: Annotated[int, typer.Option(help="Evaluations of the run, the first included.")] = 20,
    spread: Annotated[
        float, typer.Option(help="Spread over prompts of the paired difference of two checkpoints.")
    ] = 0.31,
    jitter: Annotated[
        float, typer.Option(help="What checkpoints differ by for no lasting reason, in points of win rate.")
    ] = 0.7,
    seconds: Annotated[float | None, typer.Option(help="Seconds that one answer takes, scored.")] = None,
    as_json: Json = False,
) -> None:
    """The smallest lasting fall that a run of this size sees, and when more prompts stop helping.

    Exit 0: fine. 2: wrong use.
    """
    from rm_monitor.files.strict_json import dumps  # noqa: PLC0415  each command pays for itself only
    from rm_monitor.messages.planning import POOL_PER_POINT, planned  # noqa: PLC0415
    from rm_monitor.stats import plan, worth_more_prompts  # noqa: PLC0415

    size = jitter / 100.0 * POOL_PER_POINT
    found = plan(prompts, evaluations, spread=spread, jitter=size)
    enough = worth_more_prompts(evaluations, spread=spread, jitter=size)
    if as_json:
        visible = found.visible / POOL_PER_POINT
        echo(dumps({**asdict(found), "visible_win_rate": visible, "enough_prompts": enough}))
        return
    echo(planned(found, enough=enough))
    if seconds is not None:
        minutes = prompts * seconds / 60.0
        whole = evaluations * minutes
        echo(f"One evaluation takes about {minutes:.1f} min, all {evaluations}: {whole:.0f} min.")
