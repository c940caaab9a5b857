"""`report.html` beside the history, written anew after each evaluation."""

from __future__ import annotations

import os
from pathlib import Path

from rm_monitor.report.page import RunView, page
from rm_monitor.types import Table, Update

__all__ = ["PageSink"]


class PageSink:
    """Writes the page; keeps the tables of the best and the latest evaluation for the answers."""

    def __init__(self) -> None:
        self._tables: dict[int, Table] = {}

    def show(self, update: Update) -> None:
        """Replace ``report.html`` atomically."""
        if not update.output_dir:
            return
        best = update.verdict.best.step if update.verdict.best is not None else None
        keep = {best, update.point.step}
        if update.table is not None:
            self._tables[update.point.step] = update.table
        elif self._tables:
            keep.add(max(self._tables))
        self._tables = {step: table for step, table in self._tables.items() if step in keep}
        path = Path(update.output_dir) / "report.html"
        view = RunView(
            name=path.parent.parent.name,
            metric=update.metric,
            curve=update.curve,
            verdict=update.verdict,
            best=update.best,
            prompts=update.prompts,
            references=update.references,
            tables=self._tables,
            facts=update.run,
        )
        temporary = path.with_name(".report.html.tmp")
        temporary.write_text(page(view), encoding="utf-8", newline="\n")
        os.replace(temporary, path)
