"""The command line, one file a command: each parses, calls one function, prints, and sets the exit code.

Exit 0: fine. 1: the thing asked for was not found, or with ``--exit-code`` it is degraded. 2: wrong use, or
it failed. A CI job or a scheduler can act on that: 1 is an answer, 2 is the lack of one.
"""

from __future__ import annotations

import os
import sys
import traceback

from rm_monitor.cli.average import average
from rm_monitor.cli.base import app, echo
from rm_monitor.cli.best import best
from rm_monitor.cli.cache import cache
from rm_monitor.cli.check import check
from rm_monitor.cli.compare import compare
from rm_monitor.cli.demo import demo
from rm_monitor.cli.doctor import doctor
from rm_monitor.cli.export import export
from rm_monitor.cli.power import power
from rm_monitor.cli.prompts import prompts
from rm_monitor.cli.rank import rank
from rm_monitor.cli.report import report
from rm_monitor.cli.run import run
from rm_monitor.cli.score import score
from rm_monitor.cli.sweep import sweep
from rm_monitor.cli.verbosity import is_verbose
from rm_monitor.cli.view import view
from rm_monitor.cli.watch import watch

__all__ = ["COMMANDS", "app", "main"]

COMMANDS = (
    average,
    best,
    cache,
    check,
    compare,
    demo,
    doctor,
    export,
    power,
    prompts,
    rank,
    report,
    run,
    score,
    sweep,
    view,
    watch,
)  # imported, each adds itself


def main() -> None:
    """Entry point of ``rm-monitor`` and ``python -m rm_monitor``: a wrong argument is one line, exit 2."""
    from rm_monitor.errors import NotFoundError, RMMonitorError  # noqa: PLC0415  only when a command is run

    try:
        app()
    except BrokenPipeError:  # the reader has seen enough: `rm-monitor compare A B | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except NotFoundError as problem:
        _trace()
        echo(f"rm-monitor: {problem}", err=True)
        sys.exit(1)
    except (ValueError, TypeError, OSError, ImportError, RMMonitorError) as problem:
        _trace()
        echo(f"rm-monitor: {problem}", err=True)
        sys.exit(2)
    except Exception:  # Python's own exit code for a traceback is 1, which here says "degraded"
        echo(traceback.format_exc(), err=True)
        sys.exit(2)


def _trace() -> None:
    """With ``-v``, where a one-line message comes from."""
    if is_verbose():
        echo(traceback.format_exc(), err=True)
