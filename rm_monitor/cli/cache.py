"""``rm-monitor cache``: the scores kept across runs."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from rm_monitor.cli.base import Json, app, echo
from rm_monitor.files.strict_json import dumps

__all__ = ["cache"]

cache = typer.Typer(no_args_is_help=True, help="The scores kept across runs: look, check, carry, forget.")
app.add_typer(cache, name="cache")
CacheFile = Annotated[
    Path | None,
    typer.Option("--file", help="The cache; else $RM_MONITOR_CACHE or the user's cache directory."),
]
ModelId = Annotated[str, typer.Option(help="Beginning of a model's id, as `cache stats` shows it.")]


@cache.command("stats")
def cache_stats(file: CacheFile = None, as_json: Json = False) -> None:
    """What is kept, by model, and in what models of one name differ."""
    from rm_monitor.cache.maintenance import contents  # noqa: PLC0415
    from rm_monitor.cache.scores import ScoreStore  # noqa: PLC0415

    found = contents(ScoreStore(file))
    echo(dumps(asdict(found)) if as_json else str(found))


@cache.command("verify")
def cache_verify(file: CacheFile = None, as_json: Json = False) -> None:
    """Check every kept score against its checksum; exit 1 if some were damaged (they are dropped)."""
    from rm_monitor.cache.maintenance import verify  # noqa: PLC0415
    from rm_monitor.cache.scores import ScoreStore  # noqa: PLC0415

    checked, dropped = verify(ScoreStore(file))
    text = f"{checked:,} scores checked, {dropped:,} damaged" + (" and dropped" if dropped else "")
    echo(dumps({"checked": checked, "dropped": dropped}) if as_json else text)
    raise typer.Exit(1 if dropped else 0)


@cache.command("export")
def cache_export(
    to: Annotated[Path, typer.Argument(help="A JSONL file; gzipped if it ends in .gz.")],
    model: ModelId = "",
    file: CacheFile = None,
) -> None:
    """Write kept scores to a file, for another machine."""
    from rm_monitor.cache.scores import ScoreStore  # noqa: PLC0415
    from rm_monitor.cache.transfer import export_scores  # noqa: PLC0415

    echo(f"{export_scores(ScoreStore(file), to, model=model):,} scores written to {to}")


@cache.command("import")
def cache_import(
    source: Annotated[Path, typer.Argument(help="A file that `cache export` wrote.")], file: CacheFile = None
) -> None:
    """Add the scores of an exported file; what is kept already stays."""
    from rm_monitor.cache.scores import ScoreStore  # noqa: PLC0415
    from rm_monitor.cache.transfer import import_scores  # noqa: PLC0415

    added, count = import_scores(ScoreStore(file), source)
    echo(f"{added:,} of {count:,} scores added")


@cache.command("prune")
def cache_prune(
    model: ModelId = "",
    older_than: Annotated[int | None, typer.Option(help="Days.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Forget all of it.")] = False,
    file: CacheFile = None,
) -> None:
    """Forget kept scores: of a model, older than some days, or all. They are scored again when needed."""
    from rm_monitor.cache.maintenance import prune  # noqa: PLC0415
    from rm_monitor.cache.scores import ScoreStore  # noqa: PLC0415

    gone = prune(ScoreStore(file), model=model, older_than=older_than, everything=everything)
    echo(f"{gone:,} scores forgotten")
