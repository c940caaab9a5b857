"""The program itself, and the options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rm_monitor.text.escape import for_screen, redact

__all__ = ["Config", "Json", "app", "echo"]

app = typer.Typer(
    name="rm-monitor",
    help="Win-rate curves from a frozen reward model while you train.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object for a program to read.")]
Config = Annotated[Path | None, typer.Option(help="YAML file with the settings of RewardMonitor.")]


def echo(text: str, *, err: bool = False) -> None:
    """Print text from models, files and errors: it moves no cursor, and no secret is in it."""
    typer.echo(for_screen(redact(text)), err=err)


@app.callback()
def _program() -> None:
    """Win-rate curves from a frozen reward model while you train."""
