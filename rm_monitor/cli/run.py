"""``rm-monitor run``: a training script, unchanged, with the monitor added."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import Annotated

import typer

from rm_monitor.cli.base import app, echo

__all__ = ["run"]


@app.command(context_settings={"allow_interspersed_args": False})
def run(
    config: Annotated[
        Path, typer.Option(help="YAML file with the settings of RewardMonitor and its callback.")
    ],
    command: Annotated[
        list[str], typer.Argument(help="A script, a module or a console script, and its arguments.")
    ],
) -> None:
    """Run a training script that uses a Hugging Face Trainer, unchanged, with the monitor added.

    rm-monitor run --config monitor.yaml -- train.py --its arguments

    Under a launcher it is the script that is launched: torchrun --nproc_per_node 2 -m rm_monitor run ...

    Exit: the script's own. 2: wrong use, or the script ended with an error.
    """
    from rm_monitor.integrations import script  # noqa: PLC0415  each command pays for itself only
    from rm_monitor.integrations.settings import read  # noqa: PLC0415
    from rm_monitor.integrations.trainer import monitored  # noqa: PLC0415
    from rm_monitor.monitor.monitor import RewardMonitor  # noqa: PLC0415

    settings, options = read(config)
    target = script.find(command)
    with monitored(lambda: RewardMonitor.from_config(settings), **options):
        try:
            script.run(target)
        except Exception as problem:  # of the script: its author needs the traceback
            traceback.print_exc()
            echo(f"rm-monitor: {target.name} ended with {type(problem).__name__}", err=True)
            raise typer.Exit(2) from None
