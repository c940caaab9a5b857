"""``rm-monitor prompts``: where the prompts of a run come from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rm_monitor.cli.base import Json, app, echo

__all__ = ["prompts"]

_EVALUATIONS, _JITTER = 20, 0.7  # of a usual run, and points of win rate, as `rm-monitor power` has them
_FEWEST = 10


@app.command()
def prompts(
    source: Annotated[str, typer.Argument(help="File, folder of shards or pattern; see docs/inputs.md.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="JSON lines to write.")],
    n: Annotated[int, typer.Option("--n", "-n", help="How many prompts.")] = 256,
    without: Annotated[
        list[Path] | None, typer.Option(help="Training set: what it holds is not drawn; repeatable.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the draw.")] = 0,
    prompt_column: Annotated[str | None, typer.Option(help="The column that is asked.")] = None,
    id_column: Annotated[str | None, typer.Option(help="The column of ids.")] = None,
    tags_column: Annotated[str, typer.Option(help="The column of tags, drawn in their shares.")] = "tags",
    ignore_column: Annotated[
        list[str] | None, typer.Option(help="A column that may be left out of what is asked; repeatable.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Draw prompts for a run: all lengths and tags in their shares, none twice, none that training sees.

    Example: rm-monitor prompts ultrafeedback/test-*.parquet --without train.jsonl -o prompts.jsonl
    """
    from rm_monitor.files.strict_json import dumps  # noqa: PLC0415  each command pays for itself only
    from rm_monitor.messages.planning import planned  # noqa: PLC0415
    from rm_monitor.prompts import sample_prompts, write_prompts  # noqa: PLC0415
    from rm_monitor.stats import as_pool_score, plan, worth_more_prompts  # noqa: PLC0415

    sample = sample_prompts(
        source,
        n,
        without=without or None,
        seed=seed,
        prompt_column=prompt_column,
        id_column=id_column,
        tags_column=tags_column,
        ignore_columns=ignore_column or (),
    )
    write_prompts(output, sample.prompts)
    drawn = len(sample.prompts)
    if as_json:
        facts = {name: getattr(sample, name) for name in ("rows", "refused", "repeated", "near", "trained")}
        echo(
            dumps(
                {
                    "output": str(output),
                    "prompts": drawn,
                    **facts,
                    "references": sorted(sample.prompts.columns),
                }
            )
        )
        return
    echo(str(sample))
    if drawn < n:
        echo(f"asked for {n}: there are no more different prompts that training does not see")
    names = ", ".join(repr(name) for name in sample.prompts.columns) or "none"
    echo(f"written to {output}; references: {names}")
    if drawn >= _FEWEST:
        size = as_pool_score(_JITTER / 100.0)
        found = plan(drawn, _EVALUATIONS, jitter=size)
        echo(planned(found, enough=worth_more_prompts(_EVALUATIONS, jitter=size)))
    else:
        echo(f"{drawn} prompts are too few to see a fall by: an alarm needs {_FEWEST}, independent ones")
