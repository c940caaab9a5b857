"""What was measured before: a cell is measured once, whichever tables ask for it, and a run can go on."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rm_monitor import files

__all__ = ["Kept"]


class Kept:
    """Cells of the tables by name, in a JSON file that is written after each.

    What is kept is taken as it is: delete the file when what is measured has changed.

    Args:
        path: The file; None: nothing outlives the process.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._cells: dict[str, Any] = {}
        if path is not None and path.exists():
            self._cells = json.loads(path.read_text(encoding="utf-8"))

    def __call__(self, name: str, measure: Callable[[], Any]) -> Any:
        """The cell of that name, measured if it is not known; lists, numbers, strings and bools only."""
        if name not in self._cells:
            self._cells[name] = measure()
            if self._path is not None:
                files.replace(self._path, json.dumps(self._cells) + "\n")
        return self._cells[name]
