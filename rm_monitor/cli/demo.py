"""``rm-monitor demo``: a run that goes wrong on purpose."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rm_monitor.cli.base import app

__all__ = ["demo"]


@app.command()
def demo(
    output_dir: Annotated[Path, typer.Option(help="Where the demo's files go.")] = Path("demo"),
    seed: Annotated[int, typer.Option(help="Seed of the models, the data and the training.")] = 0,
) -> None:
    """A training run that goes wrong on purpose: about a minute of CPU, no download."""
    from rm_monitor.demo.show import show  # noqa: PLC0415  needs torch and transformers

    raise typer.Exit(show(output_dir, seed=seed))
