"""``rm-monitor watch``: checkpoints as a job writes them."""

from __future__ import annotations

from typing import Annotated

import typer

from rm_monitor.cli.base import ExitCode, Json, app, echo
from rm_monitor.cli.checkpoints import (
    Base,
    Folder,
    Inside,
    LayoutName,
    ModelConfig,
    Pattern,
    Settings,
    Tokenizer,
    source_of,
)
from rm_monitor.cli.checkpoints import (
    exit_code as code_of,
)

__all__ = ["watch"]


@app.command()
def watch(
    folder: Folder,
    config: Settings,
    base: Base = None,
    tokenizer: Tokenizer = None,
    pattern: Pattern = None,
    inside: Inside = "",
    layout: LayoutName = None,
    model_config: ModelConfig = None,
    until: Annotated[int | None, typer.Option(help="End when this step is judged or passed.")] = None,
    pid: Annotated[int | None, typer.Option(help="End when this process has, everything judged.")] = None,
    idle: Annotated[float | None, typer.Option(help="End after so many minutes without a new one.")] = None,
    poll: Annotated[float, typer.Option(help="Seconds between looks.")] = 30.0,
    rest: Annotated[float, typer.Option(help="Seconds without a change before one is read.")] = 10.0,
    pre_rotation: Annotated[
        bool, typer.Option("--pre-rotation", help="Link checkpoints as they appear, so that none is missed.")
    ] = False,
    group: Annotated[str | None, typer.Option(help="W&B group of the training run.")] = None,
    exit_code: ExitCode = False,
    as_json: Json = False,
) -> None:
    """Judge checkpoints while a job writes them; ends when the job ends, and says what it waits for.

    Exit 0: ended. 1: with --exit-code, degraded. 2: wrong use, it failed, or nothing could be judged.
    """
    from rm_monitor.monitor.config import MonitorConfig  # noqa: PLC0415
    from rm_monitor.sweep.watch import Ending, watch_in_own_run  # noqa: PLC0415

    ending = Ending(until=until, pid=pid, idle=None if idle is None else 60 * idle)
    source = source_of(folder, base, tokenizer, pattern, inside, layout, model_config)
    done = watch_in_own_run(
        source,
        MonitorConfig.from_yaml(config),
        group=group,
        ending=ending,
        poll=poll,
        rest=rest,
        pre_rotation=pre_rotation,
        tell=lambda line: echo(f"rm-monitor: {line}", err=True),
    )
    raise typer.Exit(code_of(*done, as_json, asked=exit_code))
