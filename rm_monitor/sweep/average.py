"""The average of some checkpoints of a run, judged against the run's best on the same prompts.

Both answer now, in the same process: nothing but the weights differs. The best was chosen for being high on
these very prompts, so that the comparison favours it a little, never the average.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rm_monitor import files, messages, stats
from rm_monitor.checkpoints.averaging import average_weights
from rm_monitor.checkpoints.disk import problem
from rm_monitor.checkpoints.keeper import Keeper
from rm_monitor.curve import tables
from rm_monitor.errors import GenerationError, NotFoundError
from rm_monitor.files.digest import digest
from rm_monitor.files.strict_json import dumps
from rm_monitor.messages.averaging import Standing
from rm_monitor.messages.choice import named
from rm_monitor.monitor.config import MonitorConfig
from rm_monitor.monitor.monitor import RewardMonitor
from rm_monitor.monitor.reading import reader
from rm_monitor.monitor.run import Run
from rm_monitor.monitor.settings import FOLDER
from rm_monitor.records.history import History
from rm_monitor.sweep.discover import Source
from rm_monitor.sweep.run import measure_loaded
from rm_monitor.types import Estimate, EvalPoint

__all__ = ["Average", "average", "standing_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Average:
    """What became of an average.

    Attributes:
        steps: That it is the mean of.
        best: Step that it was held against.
        standing: ``better`` or ``worse``: measurably; ``tied``: the interval of ``change`` reaches 0;
            ``unknown``: too few prompts were scored.
        value: Its headline metric.
        change: Headline metric minus the best's, paired by prompt.
        metric: The headline metric.
        checkpoint: Where it lies, with ``averaged.json`` beside the weights; None if it was not kept, which
            it is when better or tied.
    """

    steps: tuple[int, ...]
    best: int
    standing: Standing
    value: Estimate
    change: Estimate
    metric: str
    checkpoint: Path | None

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "steps": list(self.steps),
            "best": self.best,
            "standing": self.standing,
            "metric": self.metric,
            "value": list(self.value),
            "change": list(self.change),
            "checkpoint": None if self.checkpoint is None else str(self.checkpoint),
        }

    def __str__(self) -> str:
        return messages.averaged(
            self.steps,
            self.best,
            self.standing,
            value=self.value,
            change=self.change,
            metric=self.metric,
            kept=None if self.checkpoint is None else str(self.checkpoint),
        )


def average(
    run: str | Path,
    config: MonitorConfig,
    *,
    steps: Sequence[int] = (),
    tied: bool = False,
    last: int | None = None,
    base: str | None = None,
    tokenizer: str | None = None,
) -> Average:
    """Average checkpoints of a run, let the average and the best answer, keep it unless it is worse.

    The run's own curve, verdict and best stay as they are.

    Args:
        run: Its ``output_dir``, or its ``_rm_monitor`` folder.
        config: What the run was judged with.
        steps: Of the checkpoints; or else
        tied: The best and those that tie with it, as far as they are on disk; or else
        last: The last so many on disk, at least 2.
        base: The base of adapters, if they name none.
        tokenizer: Where the tokenizer lies, if not beside the weights.

    Raises:
        NotFoundError: If the run has no best, or a step is not on disk.
        ValueError: If not exactly one choice is made, or the checkpoints have no mean.
        GenerationError: If the average or the best could not answer.
    """
    if (len(steps) > 0) + tied + (last is not None) != 1:
        raise ValueError("say which checkpoints to average by one of `steps`, `tied` and `last`")
    folder = Path(run) if Path(run).name.startswith(FOLDER) else Path(run) / FOLDER
    keeper = Keeper(folder)
    best = keeper.best()
    if best is None:
        raise NotFoundError(f"no best checkpoint is kept in {folder}: there is nothing to compare with")
    source = Source(folder=folder.parent, base=base, tokenizer=tokenizer)
    there = {**_on_disk(folder, source), **keeper.available(), best[0]: best[1]}
    if tied:
        equal = keeper.facts().get("tied", ())
        steps = [step for step in (best[0], *equal) if step in there]
        if len(steps) < 2:
            raise NotFoundError(
                f"no other checkpoint on disk is tied with step {best[0]}, the best: tied are "
                f"{named(equal) if equal else 'none'}, and whole ones of steps {sorted(there)} were found in "
                f"{source.folder} (folders named checkpoint-N or step-N, and what the run kept)"
            )
    chosen = _chosen(there, sorted(there)[-last:] if last else steps, last)
    config = config.model_copy(update={"output_dir": str(folder.parent), "report_to": "none"})
    judging = reader(RewardMonitor.from_config(config))
    if judging.parts.evaluator.needs_references:
        raise NotFoundError(f"the initial policy's answers, the references, are not in {judging.folder}")
    target = folder / "averages" / _name(sorted(chosen))
    new = target.with_name(f".{target.name}.new")
    files.remove(new)
    try:
        facts = average_weights(chosen, new)
        made = _judged(judging, source, facts["steps"], new, best)
        if made.standing in ("better", "tied"):
            facts["judged"] = made.as_dict() | {"checkpoint": str(target)}
            files.replace(new / "averaged.json", dumps(facts, indent=1) + "\n")
            files.remove(target)
            os.replace(new, target)
            files.sync(target.parent)
            return replace(made, checkpoint=target)
        return made
    finally:
        files.remove(new)


def standing_of(change: Estimate) -> Standing:
    """What a paired change to the average says of it.

    Example:
        >>> [standing_of(Estimate(v, v - 0.02, v + 0.02, 64)) for v in (0.03, 0.01, -0.01, -0.03)]
        ['better', 'tied', 'tied', 'worse']
    """
    if not (math.isfinite(change.low) and math.isfinite(change.high)):
        return "unknown"
    return "better" if change.low > 0 else "worse" if change.high < 0 else "tied"


def _on_disk(folder: Path, source: Source) -> dict[int, Path]:
    """Whole checkpoints: where the run saw them, and what lies in its output directory."""
    seen = {p.step: Path(p.checkpoint) for p in History.read(folder) if p.checkpoint}
    found = {f.step: f.path for f in source.discover() if f.problem is None}
    return {step: path for step, path in {**seen, **found}.items() if problem(path) is None}


def _chosen(there: Mapping[int, Path], steps: Sequence[int], last: int | None) -> dict[int, Path]:
    if last is not None and last < 2:
        raise ValueError(f"`last` is how many checkpoints are averaged, at least 2, got {last}")
    if missing := sorted(set(steps) - set(there)):
        raise NotFoundError(f"no whole checkpoint of steps {missing} is on disk; there are {sorted(there)}")
    if len(steps) < (last or 2):
        raise NotFoundError(f"{last or 2} checkpoints are needed, and on disk are {sorted(there)}")
    return {step: there[step] for step in sorted(set(steps))}


def _name(steps: Sequence[int]) -> str:
    if len(steps) <= 8:
        return f"steps-{'-'.join(map(str, steps))}"
    return f"steps-{steps[0]}-to-{steps[-1]}-{digest(list(steps))}"


def _judged(run: Run, source: Source, steps: Sequence[int], path: Path, best: tuple[int, Path]) -> Average:
    theirs = _answered(run, source, best[1], best[0], f"step {best[0]}, the best,")
    ours = _answered(run, source, path, steps[-1], "the average")
    metric = run.parts.metric
    clusters = tables.clusters(tuple(run.parts.settings.prompts))
    change = stats.paired_change(theirs.values[metric], ours.values[metric], clusters=clusters)
    whole = ours.status == theirs.status == "ok"
    return Average(
        steps=tuple(steps),
        best=best[0],
        standing=standing_of(change) if whole else "unknown",
        value=ours.metrics[metric],
        change=change,
        metric=metric,
        checkpoint=None,
    )


def _answered(run: Run, source: Source, path: Path, step: int, who: str) -> EvalPoint:
    measured = measure_loaded(run, source, path, step)
    point = run.parts.point_of(measured, step=step)
    if measured.table is None or point.status == "failed":
        raise GenerationError(f"{who} could not answer: {point.reason}") from measured.error
    return point
