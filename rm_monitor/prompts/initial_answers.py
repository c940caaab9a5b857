"""The initial policy's own answers as the reference set: made once, kept, never made again."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rm_monitor.prompts import PromptSet
from rm_monitor.prompts.references import load_references, save_references
from rm_monitor.types import Completion, ReferenceSet

__all__ = ["INITIAL", "OwnReferences"]

log = logging.getLogger("rm_monitor")

INITIAL = "initial"  # name of the reference set that the initial policy answered


class OwnReferences:
    """Where the first answers become the references.

    Args:
        prompts: The fixed prompts.

    Attributes:
        folder: Where they are kept; None: nowhere.
    """

    def __init__(self, prompts: PromptSet) -> None:
        self.folder: Path | None = None
        self._prompts = prompts
        self._unkept: ReferenceSet | None = None  # no disk has them yet

    def load(self) -> tuple[ReferenceSet, ...]:
        """Those that an earlier process made; empty without."""
        kept = None if self.folder is None else load_references(self.folder, INITIAL, self._prompts)
        return () if kept is None else (kept,)

    def make(self, completions: Sequence[Sequence[Completion]], step: int) -> tuple[ReferenceSet, ...]:
        """Make the first answers the references; `keep` writes them."""
        source = "the initial policy" if step == 0 else f"the policy at step {step}"
        if step != 0:
            log.warning(
                "rm_monitor: no answers of the initial policy are kept; %s becomes the reference", source
            )
        first = tuple(replace(row[0], sample=0) for row in completions)
        self._unkept = ReferenceSet(name=INITIAL, completions=first, source=source)
        return (self._unkept,)

    def keep(self) -> None:
        """Write them; a disk that refuses is asked again at the next evaluation."""
        if self._unkept is None or self.folder is None:
            return
        try:
            save_references(self.folder, self._unkept, self._prompts)
            self._unkept = None
        except OSError as problem:
            log.warning("rm_monitor: the references could not be written yet: %s", problem)
