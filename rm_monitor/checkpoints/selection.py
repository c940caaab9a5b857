"""Which checkpoint is the best, and that it stays on disk.

The best is the highest pool score among the points that have a complete checkpoint; ties go to the
headline metric, then to the earlier step. A new evaluation can re-rank earlier checkpoints, so the
candidates are linked (`Keeper`) before the Trainer's rotation can delete them.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rm_monitor import stats
from rm_monitor.checkpoints.disk import problem, step_of
from rm_monitor.checkpoints.keeper import Keeper
from rm_monitor.curve.chosen import best_of
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
        seed: Of what ``p_best`` and the ties are reckoned with.
        clusters: ``(n,)`` labels of prompts that belong together.
    """

    def __init__(
        self,
        folder: Path,
        *,
        keep: int,
        metric: str,
        temperature: float | None = 1.0,
        seed: int = 0,
        clusters: NDArray[Any] | None = None,
    ) -> None:
        self.metric = metric
        self._keep = keep
        self._temperature = temperature
        self._election = stats.Election(seed=seed, clusters=clusters)
        self._keeper = Keeper(folder)
        self._saved: dict[int, Path] = {}
        self._kept: dict[int, Path] = {}  # of this run, not of an earlier one in the same folder
        self._attempt = 0

    def begin(self, output_dir: Path, living: Mapping[int, int], attempt: int) -> str:
        """Find the checkpoints of the living points again: our links first, then the Trainer's folders.

        What an earlier attempt kept of steps that are not living any more is set aside, never deleted.

        Args:
            output_dir: Where the Trainer saves.
            living: Step of each living point -> the attempt that judged it.
            attempt: Number of the attempt that begins.

        Returns:
            What was set aside, in words; empty if nothing was.
        """
        self._attempt = attempt
        said = ""
        try:
            self._keeper.tidy()
            said = self._set_aside(living)
            self._kept = {s: path for s, path in self._keeper.available().items() if s in living}
        except OSError as why:
            log.warning("rm_monitor: the kept checkpoints could not be put in order: %s", why)
        try:
            for path in output_dir.glob("checkpoint-*"):
                step = step_of(path)
                if step is not None and step in living and problem(path) is None:
                    self._saved[step] = path
        except OSError as why:
            log.warning("rm_monitor: the checkpoints in %s could not be listed: %s", output_dir, why)
        return said

    def _set_aside(self, living: Mapping[int, int]) -> str:
        facts, marked = self._keeper.facts(), self._keeper.best()
        before = facts.get("attempt")
        before = before if isinstance(before, int) else max(self._attempt - 1, 0)
        is_ours = marked is not None and living.get(marked[0]) == before
        spare = set(living) if is_ours or not facts else set[int]()
        earlier = self._keeper.set_aside(before, spare)
        if earlier is None or is_ours or marked is None:
            return ""
        return f"the best of attempt {before}, step {marked[0]}, is set aside in {earlier}/best"

    def saved(self, step: int, path: Path) -> None:
        """A checkpoint of this step lies in this directory."""
        self._saved[step] = path

    def forget(self, step: int) -> None:
        """The step was judged again with other weights: what was saved of it is not what was judged."""
        self._saved.pop(step, None)
        self._kept.pop(step, None)

    def path(self, step: int) -> Path | None:
        """Where the checkpoint of a step lies: our link if there is one, else the Trainer's folder."""
        for path in (self._kept.get(step), self._saved.get(step)):
            try:
                if path is not None and path.is_dir():
                    return path
            except OSError as why:  # an expired ticket, a stale handle: it is where it was seen last
                log.warning("rm_monitor: %s cannot be looked at: %s", path, why)
                return path
        return None

    def elect(self, curve: Sequence[EvalPoint], *, about_to_save: int | None = None) -> Best | None:
        """The best point with a checkpoint on disk, or whose checkpoint is about to be saved."""
        points = Curve(curve).comparable(self.metric)
        eligible = np.array([p.step == about_to_save or self.path(p.step) is not None for p in points])
        if not points or not eligible.any():
            return None
        choice = self._choose(points, eligible)
        best = best_of(choice, points, self.metric)
        path = self._link(best.step) or self.path(best.step)
        return replace(best, checkpoint=None if path is None else str(path))

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
        self._let_go_of_damaged()
        for step in top:
            self._pin(step)
        best = self.elect(curve)
        if best is not None and best.step in self._kept:
            self._keeper.mark_best(best.step, _facts(best, self.metric, self._attempt_of(best.step, points)))
            self._keeper.prune(set(top))
            self._kept = {step: path for step, path in self._kept.items() if step in top}
            link = self._link(best.step)
            best = replace(best, checkpoint=None if link is None else str(link))
        return best

    def _let_go_of_damaged(self) -> None:
        """What somebody damaged is linked again from the Trainer's own, else it is no candidate."""
        try:
            whole = self._keeper.available()
        except OSError as why:
            log.warning("rm_monitor: what is kept cannot be looked at: %s", why)
            return
        self._kept = {step: path for step, path in self._kept.items() if step in whole}

    def _pin(self, step: int) -> None:
        if step in self._kept:
            return
        try:
            if step not in self._saved:
                raise ValueError("it is gone")
            source = self._saved[step]
            # nobody rotates the folder the policy was loaded from; what lies in the output directory may go
            lasts = step == 0 and self._keeper.folder.parent.resolve() not in source.resolve().parents
            self._kept[step] = (self._keeper.refer if lasts else self._keeper.pin)(step, source)
        except (OSError, ValueError) as why:
            log.warning("rm_monitor: the checkpoint of step %d cannot be kept: %s", step, why)

    def _attempt_of(self, step: int, points: Sequence[EvalPoint]) -> int:
        return next((p.attempt for p in points if p.step == step), self._attempt)

    def _link(self, step: int) -> Path | None:
        """``best/`` if it shows this step."""
        marked = self._keeper.best()
        if marked is not None and marked[0] == step and step in self._kept:
            return marked[1]
        return None

    def _choose(self, points: Curve, eligible: Any) -> stats.BestChoice:
        scores = points.scores(self.metric)
        ties = np.array([p.metrics[self.metric].value for p in points])
        return self._election.choose(
            scores.rows,
            eligible=eligible,
            ties=ties,
            pool=scores.pool,
            temperature=scores.temperature(self._temperature),
        )


def _facts(best: Best, metric: str, attempt: int) -> dict[str, Any]:
    return {
        "step": best.step,
        "attempt": attempt,
        "metric": metric,
        "value": best.value.value,
        "low": best.value.low,
        "high": best.value.high,
        "n": best.value.n,
        "p_best": best.p_best,
        "tied": list(best.tied),
        "cost": best.cost,
        "earliest": best.earliest,
        "earliest_cost": best.earliest_cost,
    }
