"""Runs from disk as a page, as Markdown or as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rm_monitor import files
from rm_monitor.files.strict_json import dumps
from rm_monitor.report.as_json import as_json
from rm_monitor.report.markdown import markdown
from rm_monitor.report.page import page
from rm_monitor.runs.read import RecordedRun, load_run

__all__ = ["Report", "report"]

HEAVY = 10_000_000  # bytes above which a page is slow to open and often refused by hosts and mail


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What was made.

    Attributes:
        text: The page, the Markdown or the JSON.
        path: Where the page lies; None for the others.
        degraded: Whether a run is.
        warning: What a reader of the page should know, if anything.
    """

    text: str
    path: Path | None
    degraded: bool
    warning: str = ""


def report(
    folders: Sequence[str | Path],
    *,
    output: str | Path | None = None,
    sides: tuple[int, int] | None = None,
    rows: str = "256",
    form: Literal["page", "markdown", "json"] = "page",
) -> Report:
    """Read runs and write them.

    Args:
        folders: Their output directories; the first is in focus.
        output: Where the page goes; None: ``report.html`` beside the first run's history.
        sides: Two steps of the first run whose answers are laid side by side; None: the best and the latest.
        rows: Prompts whose answers are embedded: a number, or ``all``.
        form: What to make.

    Raises:
        NotFoundError: If a run or a step is not there.
        ValueError: If ``rows`` is neither.
    """
    if rows != "all" and not (rows.isdigit() and int(rows) > 0):
        raise ValueError(f"`rows` is a number of prompts, at least 1, or 'all'; got {rows!r}")
    runs = [load_run(folder) for folder in folders]
    names = _names(runs)
    views = [
        run.view(name=name, sides=sides if k == 0 else None)
        for k, (run, name) in enumerate(zip(runs, names, strict=True))
    ]
    degraded = any(run.verdict.state == "degraded" for run in runs)
    if form == "markdown":
        return Report(text=markdown(views), path=None, degraded=degraded)
    if form == "json":
        found = [as_json(view) for view in views]
        text = dumps(found[0] if len(found) == 1 else found)
        return Report(text=text, path=None, degraded=degraded)
    text = page(views, rows=None if rows == "all" else int(rows))
    path = Path(output) if output is not None else runs[0].folder / "report.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    files.replace(path, text)
    size = len(text.encode())
    heavy = f"the page is {size / 1e6:.0f} MB; fewer --rows make it smaller" if size > HEAVY else ""
    return Report(text=text, path=path, degraded=degraded, warning=heavy)


def _names(runs: Sequence[RecordedRun]) -> list[str]:
    """Directory names; where two are equal, the parent as well."""
    count = Counter(run.name for run in runs)
    return [
        run.name if count[run.name] == 1 else "/".join(run.folder.resolve().parent.parts[-2:]) for run in runs
    ]
