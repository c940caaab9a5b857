"""``rm-monitor doctor``: is a reward model set up rightly?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rm_monitor.cli.base import Json, app, echo
from rm_monitor.files.strict_json import dumps

__all__ = ["doctor"]


@app.command()
def doctor(
    model: Annotated[str, typer.Argument(help="Folder, hub id or URL of a reward model.")],
    pairs: Annotated[
        list[Path] | None, typer.Option(help="Labelled pairs: JSON or JSONL, gzipped or not; repeatable.")
    ] = None,
    kind: Annotated[str | None, typer.Option(help="The family, where files do not tell.")] = None,
    index: Annotated[int | None, typer.Option(help="Which label of several is the reward.")] = None,
    reference: Annotated[str | None, typer.Option(help="Of kind 'implicit': what DPO started from.")] = None,
    tokenizer: Annotated[str | None, typer.Option(help="Where its tokenizer lies, if elsewhere.")] = None,
    dtype: Annotated[str | None, typer.Option(help="Of the network, such as bfloat16.")] = None,
    device: Annotated[str | None, typer.Option(help="Such as cpu, cuda or cuda:1.")] = None,
    max_length: Annotated[int | None, typer.Option(help="Longest input in tokens.")] = None,
    as_json: Json = False,
) -> None:
    """Is a reward model set up rightly? What it is, checks on real text, agreement with labelled pairs.

    Exit 0: fine. 1: something to look at. 2: unusable.
    """
    from rm_monitor.doctor import doctor as examine_model  # noqa: PLC0415  needs torch and transformers

    given = {"kind": kind, "index": index, "reference": reference, "tokenizer": tokenizer}
    given |= {"dtype": dtype, "device": device, "max_length": max_length}
    report = examine_model(model, pairs or (), **{k: v for k, v in given.items() if v is not None})
    echo(dumps(report.as_dict()) if as_json else str(report))
    raise typer.Exit(report.exit_code)
