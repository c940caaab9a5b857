"""``-q`` and ``-v``, which the program and each of its commands take."""

from __future__ import annotations

import logging
from typing import Annotated

import typer

__all__ = ["NAMES", "Quiet", "Verbose", "is_verbose"]

CONSOLE = "rm_monitor.console"  # the sink's own log: its level says how much is printed
NAMES = ("quiet", "verbose")


def is_verbose() -> bool:
    """Whether ``-v`` was given."""
    return logging.getLogger("rm_monitor").level == logging.DEBUG


def _quiet(given: bool) -> None:
    if given:
        logging.getLogger(CONSOLE).setLevel(logging.WARNING)


def _verbose(given: bool) -> None:
    if given:
        logging.basicConfig(format="%(levelname)s %(name)s: %(message)s")
        logging.getLogger("rm_monitor").setLevel(logging.DEBUG)


# They act when they are read, so no command has to hand them on.
Quiet = Annotated[
    bool,
    typer.Option(
        "--quiet", "-q", callback=_quiet, expose_value=False, help="Only results, alarms and errors."
    ),
]
Verbose = Annotated[
    bool,
    typer.Option(
        "--verbose",
        "-v",
        callback=_verbose,
        expose_value=False,
        help="Also what is logged on the way, and where an error comes from.",
    ),
]
