"""The program itself, and the options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rm_monitor.cli.helped import Helped
from rm_monitor.cli.verbosity import Quiet, Verbose
from rm_monitor.text.escape import for_screen, redact

__all__ = ["Config", "ExitCode", "Json", "app", "echo"]

app = typer.Typer(
    name="rm-monitor",
    help="Win-rate curves from a frozen reward model while you train.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    cls=Helped,
)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object for a program to read.")]
ExitCode = Annotated[
    bool,
    typer.Option("--exit-code", help="Exit 1 if it got worse (degraded), as `git diff --exit-code` does."),
]
Config = Annotated[Path | None, typer.Option(help="YAML file with the settings of RewardMonitor.")]


def echo(text: str, *, err: bool = False) -> None:
    """Print text from models, files and errors: it moves no cursor, and no secret is in it."""
    typer.echo(for_screen(redact(text)), err=err)


def _version(asked: bool) -> None:
    if asked:
        import rm_monitor  # noqa: PLC0415  when asked for

        typer.echo(f"rm-monitor {rm_monitor.__version__}")
        raise typer.Exit


@app.callback()
def _program(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Win-rate curves from a frozen reward model while you train."""
