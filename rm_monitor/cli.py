"""The command line: each command parses, calls one function, prints, and sets the exit code.

Exit 0: fine. 1: the run is degraded, or the thing asked for was not found. 2: wrong use, or it failed.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rm_monitor.monitor import RewardMonitor
    from rm_monitor.sweep.discover import Source
    from rm_monitor.sweep.run import Swept

__all__ = ["app", "main"]

app = typer.Typer(
    name="rm-monitor",
    help="Win-rate curves from a frozen reward model while you train.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object for a program to read.")]
Config = Annotated[Path | None, typer.Option(help="YAML file with the settings of RewardMonitor.")]


@app.callback()
def _program() -> None:
    """Win-rate curves from a frozen reward model while you train."""


@app.command()
def demo(
    output_dir: Annotated[Path, typer.Option(help="Where the demo's files go.")] = Path("demo"),
    seed: Annotated[int, typer.Option(help="Seed of the models, the data and the training.")] = 0,
) -> None:
    """A training run that goes wrong on purpose: about a minute of CPU, no download."""
    from rm_monitor.demo.show import show  # noqa: PLC0415  needs torch and transformers

    raise typer.Exit(show(output_dir, seed=seed))


@app.command()
def best(folder: Annotated[Path, typer.Argument(help="A run's output_dir.")], as_json: Json = False) -> None:
    """Print the path of the best checkpoint of a run."""
    from rm_monitor.runs import best_of  # noqa: PLC0415  each command pays for itself only

    found = best_of(folder)
    if found is None:
        typer.echo(f"no best checkpoint is kept in {folder}/_rm_monitor", err=True)
        raise typer.Exit(1)
    typer.echo(json.dumps(found) if as_json else found["path"])


@app.command()
def compare(
    a: Annotated[
        str, typer.Argument(help="A step, RUN:STEP, a run (its latest step) or a file of completions.")
    ],
    b: Annotated[str, typer.Argument(help="What it is compared with, likewise.")],
    run: Annotated[Path, typer.Option(help="The run that bare steps belong to.")] = Path(),
    config: Config = None,
    as_json: Json = False,
) -> None:
    """How much better B is than A, prompt by prompt: the change with its interval, and what flipped."""
    from rm_monitor.runs import compare as compare_runs  # noqa: PLC0415

    report = compare_runs(a, b, run=run, config=config)
    typer.echo(json.dumps(report.as_dict()) if as_json else str(report))


@app.command()
def score(
    completions: Annotated[Path, typer.Argument(help="JSONL of completions: prompt or id, completion.")],
    config: Annotated[Path, typer.Option(help="YAML file with the settings of RewardMonitor.")],
    as_json: Json = False,
) -> None:
    """Judge a file of completions against references; no model is needed."""
    from rm_monitor.runs import score_file  # noqa: PLC0415

    point = score_file(completions, config)
    rows = {name: list(e) for name, e in point.metrics.items()}
    if as_json:
        typer.echo(json.dumps(rows))
        return
    for name, (value, low, high, n) in rows.items():
        typer.echo(f"{name:28} {value:9.4f}   {low:9.4f} to {high:9.4f}   n {n}")


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


@app.command()
def sweep(
    folder: Folder,
    config: Settings,
    base: Base = None,
    tokenizer: Tokenizer = None,
    pattern: Pattern = None,
    inside: Inside = "",
    jobs: Annotated[int, typer.Option(help="Processes that measure side by side.")] = 1,
    ray: Annotated[
        str | None, typer.Option(help="Measure on a Ray cluster: its address, 'auto' or 'local'.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Judge every checkpoint in a folder that was not judged yet."""
    from rm_monitor.config import MonitorConfig  # noqa: PLC0415
    from rm_monitor.sweep.run import sweep as sweep_folder  # noqa: PLC0415

    source = _source(folder, base, tokenizer, pattern, inside)
    raise typer.Exit(
        _swept(*sweep_folder(source, MonitorConfig.from_yaml(config), jobs=jobs, ray=ray), as_json)
    )


@app.command()
def watch(
    folder: Folder,
    config: Settings,
    base: Base = None,
    tokenizer: Tokenizer = None,
    pattern: Pattern = None,
    inside: Inside = "",
    until: Annotated[int | None, typer.Option(help="End when this step is judged or passed.")] = None,
    pid: Annotated[int | None, typer.Option(help="End when this process has, everything judged.")] = None,
    idle: Annotated[float | None, typer.Option(help="End after so many minutes without a new one.")] = None,
    poll: Annotated[float, typer.Option(help="Seconds between looks.")] = 30.0,
    rest: Annotated[float, typer.Option(help="Seconds without a change before one is read.")] = 10.0,
    pre_rotation: Annotated[
        bool, typer.Option("--pre-rotation", help="Link checkpoints as they appear, so that none is missed.")
    ] = False,
    group: Annotated[str | None, typer.Option(help="W&B group of the training run.")] = None,
    as_json: Json = False,
) -> None:
    """Judge checkpoints while a job writes them; ends when the job ends."""
    from rm_monitor.config import MonitorConfig  # noqa: PLC0415
    from rm_monitor.sweep.watch import Ending, watch_in_own_run  # noqa: PLC0415

    ending = Ending(until=until, pid=pid, idle=None if idle is None else 60 * idle)
    source = _source(folder, base, tokenizer, pattern, inside)
    done = watch_in_own_run(
        source,
        MonitorConfig.from_yaml(config),
        group=group,
        ending=ending,
        poll=poll,
        rest=rest,
        pre_rotation=pre_rotation,
    )
    raise typer.Exit(_swept(*done, as_json))


def _source(
    folder: Path, base: str | None, tokenizer: str | None, pattern: str | None, inside: str
) -> Source:
    from rm_monitor.sweep.discover import PATTERN, Source  # noqa: PLC0415

    return Source(folder=folder, base=base, tokenizer=tokenizer, pattern=pattern or PATTERN, inside=inside)


def _swept(monitor: RewardMonitor, swept: Swept, as_json: bool) -> int:
    """Say what was done; the exit code."""
    for step, why in swept.left_out.items():
        typer.echo(f"step {step} was left out: {why}", err=True)
    state, chosen = monitor.verdict.state, monitor.best
    monitor.close()
    if as_json:
        found = {"judged": swept.judged, "known": swept.known, "left_out": swept.left_out, "state": state}
        typer.echo(json.dumps({**found, "best": None if chosen is None else chosen.step}))
    return 1 if state == "degraded" else 0


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
    typer.echo(json.dumps(report.as_dict()) if as_json else str(report))
    raise typer.Exit(report.exit_code)


def main() -> None:
    """Entry point of ``rm-monitor`` and ``python -m rm_monitor``: a wrong argument is one line, exit 2."""
    from rm_monitor.errors import RMMonitorError  # noqa: PLC0415

    try:
        app()
    except (ValueError, TypeError, OSError, ImportError, RMMonitorError) as problem:
        typer.echo(f"rm-monitor: {problem}", err=True)
        sys.exit(2)
