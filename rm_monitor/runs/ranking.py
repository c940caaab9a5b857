"""Which of several runs: their best checkpoints against each other, on the same prompts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rm_monitor import messages, stats
from rm_monitor.curve import tables
from rm_monitor.curve.curve import Curve
from rm_monitor.errors import NotFoundError
from rm_monitor.messages import page as sentences
from rm_monitor.report.facts import facts
from rm_monitor.runs.found import differ
from rm_monitor.runs.read import RecordedRun, load_run
from rm_monitor.types import Estimate, EvalPoint

__all__ = ["Ranked", "Ranking", "rank"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranked:
    """One run of a ranking.

    Attributes:
        run: Its folder, as it was given.
        step: Of its best checkpoint.
        checkpoint: Where that lies; None if it is not on disk.
        value: The headline metric there.
        judged: Evaluations that it is the best of: of more, the best reads higher.
        behind: Headline metric minus that of the first run, paired by prompt; the intervals of all runs hold
            together with 95 %.
        head_to_head: Share of prompts on which its answer has the higher reward than the first run's, ties
            half; None where there are no rewards.
        tied: It may be the best as well, as far as these prompts can tell.
    """

    run: str
    step: int
    checkpoint: str | None
    value: Estimate
    judged: int
    behind: Estimate
    head_to_head: Estimate | None
    tied: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """Runs in order, the best first.

    Attributes:
        metric: The headline metric.
        runs: Best first.
        p_best: Probability that the first is truly the best of them.
        cost: What taking the first costs at most against whichever is truly the best, as a share of the score
            they are compared by.
    """

    metric: str
    runs: tuple[Ranked, ...]
    p_best: float
    cost: float

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "metric": self.metric,
            "p_best": self.p_best,
            "cost": self.cost,
            "runs": [
                {
                    "run": r.run,
                    "step": r.step,
                    "checkpoint": r.checkpoint,
                    "value": r.value._asdict(),
                    "judged": r.judged,
                    "behind": r.behind._asdict(),
                    "head_to_head": None if r.head_to_head is None else r.head_to_head._asdict(),
                    "tied": r.tied,
                }
                for r in self.runs
            ],
        }

    def __str__(self) -> str:
        first, lines = self.runs[0], []
        for place, r in enumerate(self.runs, 1):
            value = (
                f"{messages.number(r.value.value, self.metric)} ({messages.interval(r.value, self.metric)})"
            )
            beside = ""
            if r is not first:
                change = sentences.difference(r.behind, self.metric, "against the first")
                beside = f"  {change}{'; tied with it' if r.tied else ''}"
            lines.append(f"{place}. {r.run}, step {r.step}: {value}{beside}")
        tied = sum(r.tied for r in self.runs) - 1
        said = "no other run comes close" if tied < 1 else f"{tied} tied with it"
        lines.append(
            f"Take {first.run}: the best with probability {self.p_best:.2f}, {said}; it costs at most "
            f"{messages.points(self.cost)} of how often answers win against the other runs'."
        )
        return "\n".join([*lines, *self._luck()])

    def _luck(self) -> list[str]:
        """Each best was chosen on these prompts: among more evaluations luck has more to choose from."""
        few, many = (pick(self.runs, key=lambda r: r.judged) for pick in (min, max))
        if many.judged < 2 * few.judged:
            return []
        return [
            f"The best of {many.run} was chosen among {many.judged} evaluations, that of {few.run} among "
            f"{few.judged}: that flatters the former. Prompts that chose neither do not (rm-monitor sweep "
            "--confirm)."
        ]


def rank(folders: Sequence[str | Path]) -> Ranking:
    """Rank runs by their best checkpoints.

    Args:
        folders: Output directories of at least two runs, measured alike.

    Raises:
        NotFoundError: If a run or its best is not there.
        ValueError: If fewer than two are given, or they were not measured alike.
    """
    if len(folders) < 2:
        raise ValueError(f"`rank` takes at least two runs, got {len(folders)}")
    runs = [load_run(folder) for folder in folders]
    names = [str(folder) for folder in folders]
    bests = [_best(run, name) for run, name in zip(runs, names, strict=True)]
    for name, run, point in zip(names[1:], runs[1:], bests[1:], strict=True):
        if point.segment != bests[0].segment or point.prompt_ids != bests[0].prompt_ids:
            raise ValueError(
                f"{names[0]} and {name} cannot be ranked, they were measured otherwise "
                f"({differ(facts(runs[0].manifest), facts(run.manifest))}). Answer them alike: rm-monitor "
                "sweep with one configuration"
            )
    metric = runs[0].metric
    pool = all("reward" in p.values for p in bests)
    rows = np.array([p.values["reward" if pool else metric] for p in bests], dtype=np.float64)
    headline = np.array([p.values[metric] for p in bests], dtype=np.float64)
    known = runs[0].prompts
    clusters = tables.clusters(known) if len(known) == rows.shape[1] else None
    choice = stats.best(
        rows,
        ties=np.array([p.metrics[metric].value for p in bests]),
        pool=pool,
        temperature=stats.pool_temperature(rows[0]) if pool and metric == "reward" else 1.0,
        clusters=clusters,
    )
    behind = stats.changes(headline, choice.index, clusters=clusters)
    order = sorted(range(len(bests)), key=lambda i: (i != choice.index, -choice.pool[i], i))
    return Ranking(
        metric=metric,
        runs=tuple(
            Ranked(
                run=names[i],
                step=bests[i].step,
                checkpoint=bests[i].checkpoint,
                value=bests[i].metrics[metric],
                judged=len(Curve(runs[i].curve).comparable(metric)),
                behind=behind[i],
                head_to_head=stats.rate(
                    stats.outcome(stats.settled(rows[i], rows[choice.index])), clusters=clusters
                )
                if pool
                else None,
                tied=i == choice.index or i in choice.tied,
            )
            for i in order
        ),
        p_best=choice.p_best,
        cost=choice.cost,
    )


def _best(run: RecordedRun, name: str) -> EvalPoint:
    best = run.best or run.verdict.best
    found = None if best is None else next((p for p in run.curve if p.step == best.step and p.values), None)
    if found is None:
        raise NotFoundError(f"{name} has no best step yet")
    return found
