"""Which checkpoint is the best, and that it stays on disk.

The best is the highest pool score among the points that have a complete checkpoint; ties go to the
headline metric, then to the earlier step. A new evaluation can re-rank earlier checkpoints, so the
candidates are linked (`Keeper`) before the Trainer's rotation can delete them.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from rm_monitor import stats
from rm_monitor.checkpoints.disk import problem, step_of
from rm_monitor.checkpoints.keeper import Keeper
from rm_monitor.curve.curve import Curve
from rm_monitor.types import Best, EvalPoint

__all__ = ["Selection"]

log = logging.getLogger("rm_monitor")


class Selection:
    """Elects the best checkpoint and keeps the candidates on disk.

    Args:
        folder: Our folder, ``<output_dir>/_rm_monitor``.
        keep: How many candidates stay linked.
        metric: Headline metric: breaks ties and is the value shown.
        temperature: Of the pool score; None: fitted to the first point's spread, as the verdict does.
        seed: Of the bootstrap behind ``p_best``.
    """

    def __init__(
        self, folder: Path, *, keep: int, metric: str, temperature: float | None = 1.0, seed: int = 0
    ) -> None:
        self.metric = metric
        self._keep = keep
        self._temperature = temperature
        self._seed = seed
        self._keeper = Keeper(folder)
        self._saved: dict[int, Path] = {}
        self._mine: set[int] = set()  # kept steps of this run, not of an older run in the same folder

    def begin(self, output_dir: Path, steps: set[int]) -> None:
        """Find the checkpoints of the living points again: our links first, then the Trainer's folders.

        A best that was marked by an attempt that was rolled back stays on disk, but is ours no more.
        """
        foreign: set[int] = set()
        try:
            self._keeper.tidy()
            marked = self._keeper.best()
            if marked is not None and marked[0] not in steps:
                self._keeper.supersede()
            if self._keeper.facts().get("superseded"):
                foreign = set() if marked is None else {marked[0]}
            self._keeper.prune(steps - foreign)
        except OSError as why:
            log.warning("rm_monitor: the kept checkpoints could not be put in order: %s", why)
        self._mine = set(self._keeper.available()) & steps - foreign
        if output_dir.is_dir():
            for path in output_dir.glob("checkpoint-*"):
                step = step_of(path)
                if step in steps and problem(path) is None:
                    self._saved[step] = path

    def saved(self, step: int, path: Path) -> None:
        """A checkpoint of this step lies in this directory."""
        self._saved[step] = path

    def path(self, step: int) -> Path | None:
        """Where the checkpoint of a step lies: our link if there is one, else the Trainer's folder."""
        if step in self._mine:
            kept = self._keeper.available().get(step)
            if kept is not None:
                return kept
        path = self._saved.get(step)
        if path is not None and path.is_dir():
            return path
        return None

    def elect(self, curve: Sequence[EvalPoint], *, about_to_save: int | None = None) -> Best | None:
        """The best point with a checkpoint on disk, or whose checkpoint is about to be saved."""
        points = Curve(curve).comparable(self.metric)
        eligible = np.array([p.step == about_to_save or self.path(p.step) is not None for p in points])
        if not points or not eligible.any():
            return None
        choice = self._choose(points, eligible)
        best = points[choice.index]
        path = self._link(best.step) or self.path(best.step)
        return Best(
            step=best.step,
            value=best.metrics[self.metric],
            checkpoint=None if path is None else str(path),
            p_best=choice.p_best,
            tied=tuple(points[i].step for i in choice.tied if i != choice.index),
        )

    def keep(self, curve: Sequence[EvalPoint]) -> Best | None:
        """Link the top candidates that lie on disk, mark the best, let go of the others."""
        points = Curve(curve).comparable(self.metric)
        on_disk = np.array([self.path(p.step) is not None for p in points], dtype=bool)
        if not on_disk.any():
            return None
        choice = self._choose(points, on_disk)
        order = sorted(
            np.flatnonzero(on_disk).tolist(), key=lambda i: (i != choice.index, -choice.pool[i], i)
        )
        top = [points[i].step for i in order[: self._keep]]
        for step in top:
            self._pin(step)
        best = self.elect(curve)
        if best is not None and best.step in self._mine:
            self._keeper.mark_best(best.step, _facts(best, self.metric))
            self._keeper.prune(set(top))
            self._mine &= set(top)
            link = self._link(best.step)
            best = replace(best, checkpoint=None if link is None else str(link))
        return best

    def _pin(self, step: int) -> None:
        if step in self._mine:
            return
        try:
            if step not in self._saved:
                raise ValueError("it is gone")
            if step == 0:  # the folder the policy was loaded from: nobody rotates it
                self._keeper.refer(step, self._saved[step])
            else:
                self._keeper.pin(step, self._saved[step])
        except (OSError, ValueError) as why:
            log.warning("rm_monitor: the checkpoint of step %d cannot be kept: %s", step, why)
            return
        self._mine.add(step)

    def _link(self, step: int) -> Path | None:
        """``best/`` if it shows this step."""
        marked = self._keeper.best()
        if marked is not None and marked[0] == step and step in self._mine:
            return marked[1]
        return None

    def _choose(self, points: Curve, eligible: Any) -> stats.BestChoice:
        scores = points.scores(self.metric)
        ties = np.array([p.metrics[self.metric].value for p in points])
        return stats.best(
            scores.rows,
            eligible=eligible,
            ties=ties,
            pool=scores.pool,
            temperature=self._temperature or (stats.pool_temperature(scores.rows[0]) if scores.pool else 1.0),
            seed=self._seed,
        )


def _facts(best: Best, metric: str) -> dict[str, Any]:
    return {
        "step": best.step,
        "metric": metric,
        "value": best.value.value,
        "low": best.value.low,
        "high": best.value.high,
        "n": best.value.n,
        "p_best": best.p_best,
        "tied": list(best.tied),
    }
