"""`report.html` beside the history, written anew after each evaluation."""

from __future__ import annotations

from pathlib import Path

from rm_monitor import files
from rm_monitor.curve.curve import Curve
from rm_monitor.files.strict_json import read_object
from rm_monitor.records.history import History
from rm_monitor.report.facts import facts
from rm_monitor.report.page import RunView, page
from rm_monitor.types import Table, Update

__all__ = ["PageSink"]


class PageSink:
    """Writes the page; keeps the tables of the best and the latest evaluation for the answers."""

    def __init__(self) -> None:
        self._tables: dict[int, Table] = {}

    def show(self, update: Update) -> None:
        """Replace ``report.html`` atomically: a reader who reloads sees the old page or the new one."""
        if not update.output_dir:
            return
        folder = Path(update.output_dir)
        view = RunView(
            name=folder.resolve().parent.name,
            metric=update.metric,
            curve=Curve(update.curve),
            verdict=update.verdict,
            best=update.best,
            prompts=update.prompts,
            references=update.references,
            tables=self._remember(update),
            facts=_facts(folder) or update.run,
        )
        files.replace(folder / "report.html", page(view))

    def _remember(self, update: Update) -> dict[int, Table]:
        """The tables of the best and the latest; after a resume the best's is read from disk, once."""
        if update.table is not None:
            self._tables[update.point.step] = update.table
        best = update.verdict.best.step if update.verdict.best is not None else None
        if best is not None and best not in self._tables:
            table = History.read_table(Path(update.output_dir), best)
            if table is not None:
                self._tables[best] = table
        latest = max((p.step for p in update.curve if p.values and p.step in self._tables), default=None)
        self._tables = {step: t for step, t in self._tables.items() if step in (best, latest)}
        return self._tables


def _facts(folder: Path) -> dict[str, str]:
    try:
        return facts(read_object(folder / "manifest.json"))
    except (OSError, ValueError):
        return {}
