"""``rm-monitor sweep``: checkpoints on disk, once."""

from __future__ import annotations

from typing import Annotated

import typer

from rm_monitor.cli.app import Json, app
from rm_monitor.cli.checkpoints import (
    Base,
    Folder,
    Inside,
    Pattern,
    Settings,
    Tokenizer,
    exit_code,
    source_of,
)

__all__ = ["sweep"]


@app.command()
def sweep(
    folder: Folder,
    config: Settings,
    base: Base = None,
    tokenizer: Tokenizer = None,
    pattern: Pattern = None,
    inside: Inside = "",
    jobs: Annotated[int, typer.Option(help="Processes that measure side by side.")] = 1,
    ray: Annotated[
        str | None, typer.Option(help="Measure on a Ray cluster: its address, 'auto' or 'local'.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Judge every checkpoint in a folder that was not judged yet."""
    from rm_monitor.config import MonitorConfig  # noqa: PLC0415
    from rm_monitor.sweep.run import sweep as sweep_folder  # noqa: PLC0415

    source = source_of(folder, base, tokenizer, pattern, inside)
    raise typer.Exit(
        exit_code(*sweep_folder(source, MonitorConfig.from_yaml(config), jobs=jobs, ray=ray), as_json)
    )
