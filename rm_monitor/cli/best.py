"""``rm-monitor best``: the checkpoint to use: where it lies, as a model folder, on the Hub."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from rm_monitor.cli.base import Json, app, echo
from rm_monitor.files.strict_json import dumps

__all__ = ["best"]


@app.command()
def best(
    folder: Annotated[Path, typer.Argument(help="A run's output_dir.")],
    export: Annotated[
        Path | None, typer.Option(help="Write it there as a model folder: weights, tokenizer, card.")
    ] = None,
    push: Annotated[
        str | None, typer.Option(help="Upload it to the Hub: USER/MODEL, or USER/MODEL@BRANCH.")
    ] = None,
    private: Annotated[bool, typer.Option("--private", help="Of a repository that --push makes.")] = False,
    merge: Annotated[bool, typer.Option(help="Write a LoRA adapter as whole weights.")] = True,
    base: Annotated[str | None, typer.Option(help="The base of an adapter, if it names none.")] = None,
    card: Annotated[
        Path | None, typer.Option(help="Add how the training went to the README.md in this model folder.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Print the path of the best checkpoint of a run, or write it out.

    Exit 0: fine. 1: no best checkpoint is kept. 2: wrong use, or it failed.
    """
    from rm_monitor.runs import best_of  # noqa: PLC0415  each command pays for itself only

    found = best_of(folder)
    if found is None:
        there = folder.is_dir()
        why = "" if there else ": the folder does not exist"
        echo(f"rm-monitor: no best checkpoint is kept in {folder}/_rm_monitor{why}", err=True)
        raise typer.Exit(1)
    if card is not None:
        from rm_monitor.report.model_card import write_card  # noqa: PLC0415
        from rm_monitor.runs import load_run  # noqa: PLC0415

        found["card"] = str(write_card(load_run(folder).view(), card))
    if export is not None or push is not None:
        from rm_monitor.runs import export as exporting  # noqa: PLC0415

        with TemporaryDirectory(prefix="rm-monitor-") as temporary:
            to = exporting.export(folder, export or Path(temporary) / "best", merge=merge, base=base)
            if export is not None:
                found["path"] = str(to)
            if push is not None:
                found["pushed"] = exporting.push(to, push, private=private)
    echo(dumps(found) if as_json else str(found.get("pushed", found["path"])))
