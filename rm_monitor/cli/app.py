"""The program itself, and the options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["Config", "Json", "app"]

app = typer.Typer(
    name="rm-monitor",
    help="Win-rate curves from a frozen reward model while you train.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object for a program to read.")]
Config = Annotated[Path | None, typer.Option(help="YAML file with the settings of RewardMonitor.")]


@app.callback()
def _program() -> None:
    """Win-rate curves from a frozen reward model while you train."""
