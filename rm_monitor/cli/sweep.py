"""``rm-monitor sweep``: checkpoints on disk, once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rm_monitor.cli.base import ExitCode, Json, app
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

__all__ = ["sweep"]


@app.command()
def sweep(
    folder: Folder,
    config: Settings,
    base: Base = None,
    tokenizer: Tokenizer = None,
    pattern: Pattern = None,
    inside: Inside = "",
    layout: LayoutName = None,
    model_config: ModelConfig = None,
    jobs: Annotated[int, typer.Option(help="Processes that measure side by side.")] = 1,
    ray: Annotated[
        str | None, typer.Option(help="Measure on a Ray cluster: its address, 'auto' or 'local'.")
    ] = None,
    confirm: Annotated[
        int | None, typer.Option(help="Let the best so many answer held-out prompts, and choose again.")
    ] = None,
    held_out: Annotated[
        Path | None, typer.Option(help="Prompts the run is not judged on, for --confirm.")
    ] = None,
    exit_code: ExitCode = False,
    as_json: Json = False,
) -> None:
    """Judge every checkpoint in a folder that was not judged yet.

    Exit 0: judged. 1: with --exit-code, degraded. 2: wrong use, it failed, or nothing could be judged.
    """
    from rm_monitor.monitor.config import MonitorConfig  # noqa: PLC0415  each command pays for itself only
    from rm_monitor.sweep.run import sweep as sweep_folder  # noqa: PLC0415

    if (confirm is None) != (held_out is None):
        raise ValueError("--confirm says how many answer again, --held-out what they are asked: pass both")
    source, settings = (
        source_of(folder, base, tokenizer, pattern, inside, layout, model_config),
        MonitorConfig.from_yaml(config),
    )
    monitor, swept = sweep_folder(source, settings, jobs=jobs, ray=ray)
    found = None
    if confirm is not None and held_out is not None:
        from rm_monitor.sweep.confirm import confirm as confirm_swept  # noqa: PLC0415

        found = confirm_swept(monitor, source, settings, held_out, top=confirm)
    raise typer.Exit(code_of(monitor, swept, as_json, asked=exit_code, confirmed=found))
