"""``rm-monitor check``: settings tried before a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rm_monitor.cli.base import Json, app, echo

__all__ = ["check"]


@app.command()
def check(
    config: Annotated[Path, typer.Argument(help="YAML file with the settings of RewardMonitor.")],
    policy: Annotated[
        str | None, typer.Option(help="The model that will be trained: two prompts are answered with it.")
    ] = None,
    measure: Annotated[
        bool,
        typer.Option(
            "--measure",
            help="Answer all prompts twice with the policy: cost and spread are then measured, not assumed.",
        ),
    ] = False,
    schema: Annotated[
        bool, typer.Option("--schema", help="Print the JSON schema of the settings instead, for an editor.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Load everything, ask and score two rows, tell what will be cut and what an evaluation costs.

    Example: rm-monitor check monitor.yaml --policy out/base. Exit 0: it can work. 2: it cannot, and why.
    """
    from rm_monitor.files.strict_json import dumps  # noqa: PLC0415  each command pays for itself only
    from rm_monitor.monitor.config import MonitorConfig  # noqa: PLC0415

    if schema:
        echo(dumps(MonitorConfig.model_json_schema(), indent=1))
        return
    from rm_monitor.runs.check import check_settings  # noqa: PLC0415

    found = check_settings(config, policy=policy, measure=measure)
    if as_json:
        said = {"facts": dict(found.facts), "rewards": {k: list(v) for k, v in found.rewards.items()}}
        echo(dumps({**said, "asked": list(found.asked), "seconds": found.seconds}))
        return
    echo(str(found))
