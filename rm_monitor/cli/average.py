"""``rm-monitor average``: the mean of checkpoints' weights, judged against the best."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rm_monitor.cli.base import Json, app, echo
from rm_monitor.cli.checkpoints import Base, Tokenizer
from rm_monitor.files.strict_json import dumps

__all__ = ["average"]


@app.command()
def average(
    run: Annotated[Path, typer.Argument(help="A run's output_dir.")],
    more: Annotated[list[int] | None, typer.Argument(help="Further steps.")] = None,
    steps: Annotated[
        list[int] | None, typer.Option(help="Average the checkpoints of these steps: --steps 400 600 800.")
    ] = None,
    tied: Annotated[
        bool, typer.Option("--tied", help="The best and those on disk that tie with it.")
    ] = False,
    last: Annotated[int | None, typer.Option(help="The last so many on disk.")] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            help="YAML file the run was judged with; by default monitor.yaml beside its checkpoints."
        ),
    ] = None,
    base: Base = None,
    tokenizer: Tokenizer = None,
    as_json: Json = False,
) -> None:
    """Average checkpoints of a run; keep the average if it is better than the best, or tied with it.

    Exit 0: it is kept. 1: it is worse, or a checkpoint is not there. 2: wrong use, or it failed.
    """
    from rm_monitor.monitor.config import MonitorConfig  # noqa: PLC0415  each command pays for itself only
    from rm_monitor.sweep.average import average as average_run  # noqa: PLC0415

    if more and not steps:
        raise ValueError(f"which checkpoints? write --steps {' '.join(map(str, more))}")
    config = config or run / "monitor.yaml"
    if not config.is_file():
        raise ValueError(f"{config} is not there: pass --config, the settings that the run was judged with")
    made = average_run(
        run,
        MonitorConfig.from_yaml(config),
        steps=[*(steps or []), *(more or [])],
        tied=tied,
        last=last,
        base=base,
        tokenizer=tokenizer,
    )
    echo(dumps(made.as_dict()) if as_json else str(made))
    raise typer.Exit(0 if made.checkpoint is not None else 1)
