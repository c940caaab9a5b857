"""``rm-monitor export``: a run as a table or as a chart."""

from __future__ import annotations

import csv
import io
import sys
from pathlib import Path
from typing import Annotated

import typer

from rm_monitor.cli.base import app, echo
from rm_monitor.files.atomic import replace
from rm_monitor.text.escape import for_csv

__all__ = ["export"]


@app.command()
def export(
    folder: Annotated[Path, typer.Argument(help="A run's output_dir.")],
    as_csv: Annotated[bool, typer.Option("--csv", help="Comma-separated values.")] = False,
    parquet: Annotated[bool, typer.Option("--parquet", help="Parquet; needs --output.")] = False,
    vega: Annotated[bool, typer.Option("--vega", help="The curve as a Vega-Lite chart.")] = False,
    inspect: Annotated[
        bool, typer.Option("--inspect", help="Logs for Inspect, one a step, into the folder --output.")
    ] = False,
    completions: Annotated[
        bool, typer.Option("--completions", help="One row a completion, instead of one an evaluation.")
    ] = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The file to write; by default it is printed.")
    ] = None,
) -> None:
    """Write a run as a table for pandas, R or a spreadsheet, as a chart, or as logs for `inspect view`.

    Exit 0: fine. 1: no run is there. 2: wrong use, or it failed.
    """
    from rm_monitor.runs import load_run  # noqa: PLC0415  each command pays for itself only

    if as_csv + parquet + vega + inspect != 1:
        raise ValueError("say what to write: one of --csv, --parquet, --vega and --inspect")
    if (vega or inspect) and completions:
        raise ValueError("--completions goes with --csv or --parquet")
    run, kind = load_run(folder), "completions" if completions else "curve"
    if parquet:
        import pyarrow.parquet as pq  # noqa: PLC0415

        if output is None:
            raise ValueError("--parquet is not text: say where it goes with --output FILE")
        pq.write_table(run.to_arrow(kind), output)
        echo(str(output))
        return
    if inspect:
        from rm_monitor.runs.inspect_log import write_inspect_logs  # noqa: PLC0415

        if output is None:
            raise ValueError("--inspect writes a file a step: say into which folder with --output DIR")
        written = write_inspect_logs(run, output)
        echo(f"{len(written)} logs in {output}: inspect view --log-dir {output}")
        return
    if vega:
        from rm_monitor.files.strict_json import dumps  # noqa: PLC0415
        from rm_monitor.runs.vega import vega_lite  # noqa: PLC0415

        text = dumps(vega_lite(run), indent=1) + "\n"
    else:
        text = _csv(run.columns(kind))
    if output is None and sys.stdout.isatty():
        echo(text)  # texts of models move no cursor
    elif output is None:
        typer.echo(text, nl=False)  # a program gets every byte
    else:
        replace(output, text)
        echo(str(output))


def _csv(columns: dict[str, list[object]]) -> str:
    """RFC 4180; an unknown value is an empty cell, and no text is a formula. ``--parquet`` has every byte."""
    written = io.StringIO()
    lines = csv.writer(written, lineterminator="\n")
    lines.writerow(map(for_csv, columns))
    for row in zip(*columns.values(), strict=True):
        lines.writerow([for_csv(cell) if isinstance(cell, str) else cell for cell in row])
    return written.getvalue()
