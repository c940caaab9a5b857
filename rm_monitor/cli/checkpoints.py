"""What `sweep` and `watch` share: where checkpoints lie, and what became of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rm_monitor import messages
from rm_monitor.cli.base import echo
from rm_monitor.files.strict_json import dumps

if TYPE_CHECKING:
    from rm_monitor.monitor.monitor import RewardMonitor
    from rm_monitor.sweep.confirmation import Confirmation
    from rm_monitor.sweep.discover import Source
    from rm_monitor.sweep.run import Swept

__all__ = [
    "Base",
    "Folder",
    "Inside",
    "LayoutName",
    "ModelConfig",
    "Pattern",
    "Settings",
    "Tokenizer",
    "exit_code",
    "source_of",
]

Folder = Annotated[Path, typer.Argument(help="Folder of checkpoints.")]
Settings = Annotated[Path, typer.Option(help="YAML file with the settings of RewardMonitor.")]
Base = Annotated[
    str | None, typer.Option(help="The model before training: step 0, and the base of adapters.")
]
Tokenizer = Annotated[str | None, typer.Option(help="Where the tokenizer lies, if not beside the weights.")]
Pattern = Annotated[
    str | None, typer.Option(help="Regular expression of a folder's name; group 1 is the step.")
]
Inside = Annotated[
    str, typer.Option(help="Folder inside each checkpoint that holds the weights: actor/huggingface, say.")
]
LayoutName = Annotated[
    str | None,
    typer.Option(
        "--layout",
        help="The trainer that wrote them: verl, openrlhf, torchtune ... By default found by looking.",
    ),
]
ModelConfig = Annotated[
    str | None,
    typer.Option(help="What model checkpoints without config.json are of; by default the base."),
]


def source_of(
    folder: Path,
    base: str | None,
    tokenizer: str | None,
    pattern: str | None,
    inside: str,
    layout: str | None = None,
    model_config: str | None = None,
) -> Source:
    """Where the checkpoints lie."""
    from rm_monitor.sweep.discover import Source  # noqa: PLC0415

    return Source(
        folder=folder,
        base=base,
        tokenizer=tokenizer,
        pattern=pattern,
        inside=inside,
        layout=layout,
        model_config=model_config,
    )


def exit_code(
    monitor: RewardMonitor,
    swept: Swept,
    as_json: bool,
    *,
    asked: bool,
    confirmed: Confirmation | None = None,
) -> int:
    """Say what was done; the exit code: 1 for a degraded run where that was asked for."""
    for step, why in swept.left_out.items():
        echo(f"step {step} was left out: {why}", err=True)
    state, chosen = monitor.verdict.state, monitor.best
    monitor.close()
    found: dict[str, Any] = {
        "judged": swept.judged,
        "known": swept.known,
        "left_out": swept.left_out,
        "state": state,
        "unanswered": _unanswered(monitor, swept),
    }
    found["best"] = None if chosen is None else chosen.step
    if confirmed is not None:
        answered = len(confirmed.stages[0])
        echo(
            messages.confirmed(confirmed.best, confirmed.live, metric=confirmed.metric, answered=answered),
            err=as_json,
        )
        value = list(confirmed.best.value)
        found["confirmed"] = {
            "step": confirmed.best.step,
            confirmed.metric: value,
            "tied": list(confirmed.best.tied),
        }
    if as_json:
        echo(dumps(found))
    if found["unanswered"]:
        echo("rm-monitor: checkpoints were found, and none could be judged", err=True)
        return 2
    return 1 if asked and state == "degraded" else 0


def _unanswered(monitor: RewardMonitor, swept: Swept) -> bool:
    """Whether checkpoints are there of which none has a number."""
    found = {*swept.judged, *swept.known} - {0} | set(swept.left_out)  # 0 is the base
    return bool(found) and not any(point.values for point in monitor.curve if point.step in found)
