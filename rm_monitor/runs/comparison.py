"""Two points on the same prompts: steps, runs, or files of completions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rm_monitor import messages, stats
from rm_monitor.curve import tables
from rm_monitor.curve.metrics import HEADLINES, interval
from rm_monitor.messages import page as sentences
from rm_monitor.report.plain import plain
from rm_monitor.runs.beside import Pair
from rm_monitor.runs.found import differ, find, pairs_of
from rm_monitor.types import Estimate, EvalPoint, FloatArray, Prompt

__all__ = ["Comparison", "compare", "compare_points"]

_SHOWN = (*HEADLINES, "length")
FLIPS = 5  # prompts named of those that flipped


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two points on the same prompts: B minus A.

    Attributes:
        a: What A is.
        b: What B is.
        metric: The headline metric.
        before: Metric -> its value at A, on the prompts that both sides have a number for.
        after: Metric -> its value at B, on the same.
        change: Metric -> paired change with its interval.
        head_to_head: Share of prompts on which B's answer has the higher reward, ties half; None where a
            preference model gave no rewards.
        better: Prompts on which B's answer has the higher reward (or outcome).
        worse: Prompts on which A's has.
        same: Prompts on which neither has.
        lost: Ids of the prompts that A won against the reference and B lost, largest fall first.
        gained: Ids of the prompts that A lost and B won, largest gain first.
        labels: Id of a prompt -> its row and first words, where its text is known.
        pairs: Prompts with both answers, what fell most first; as many as were asked for.
        tags: Tag -> paired change of the headline metric, worst first.
        left_out: Prompts without a score on one side: the numbers are of the others, which need not be like
            them.
    """

    a: str
    b: str
    metric: str
    before: dict[str, Estimate]
    after: dict[str, Estimate]
    change: dict[str, Estimate]
    head_to_head: Estimate | None
    better: int
    worse: int
    same: int
    lost: tuple[str, ...] = ()
    gained: tuple[str, ...] = ()
    labels: dict[str, str] = field(default_factory=dict, repr=False)
    pairs: tuple[Pair, ...] = ()
    tags: dict[str, Estimate] = field(default_factory=dict)
    left_out: int = 0

    @property
    def is_worse(self) -> bool:
        """Whether B is measurably worse: the whole interval of the headline's change lies below 0."""
        return self.change[self.metric].high < 0

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON; unknown numbers are null."""
        return {
            "a": self.a,
            "b": self.b,
            "metric": self.metric,
            "worse_than_a": self.is_worse,
            "before": _plain(self.before),
            "after": _plain(self.after),
            "change": _plain(self.change),
            "head_to_head": None if self.head_to_head is None else plain(self.head_to_head),
            "better": self.better,
            "worse": self.worse,
            "same": self.same,
            "lost": list(self.lost),
            "gained": list(self.gained),
            "labels": self.labels,
            "pairs": [asdict(pair) for pair in self.pairs],
            "tags": _plain(self.tags),
            "left_out": self.left_out,
        }

    def __str__(self) -> str:
        lines = [f"A: {self.a}", f"B: {self.b}", ""]
        for name, e in self.change.items():
            before, after = (messages.number(x[name].value, name) for x in (self.before, self.after))
            lines.append(
                f"  {messages.label(name):16} {before:>8} -> {after:<8}  "
                f"{sentences.difference(e, name, 'B minus A')}"
            )
        if self.head_to_head is not None:
            share = messages.number(self.head_to_head.value)
            lines.append(f"  B beats A on {share} ({messages.interval(self.head_to_head)})")
        if self.left_out:
            lines.append(
                f"  {self.left_out} prompts are left out: no score on one side; they may be unlike the others"
            )
        lines.append(f"  by prompt: {self.better} better, {self.worse} worse, {self.same} the same")
        lines += self._flips("won against the reference and lost now", self.lost)
        lines += self._flips("lost against the reference and won now", self.gained)
        if self.tags:
            lines.append(f"  {messages.label(self.metric)} by tag, worst first:")
            lines += [
                f"    {tag}: {sentences.difference(e, self.metric, 'B minus A')}"
                for tag, e in self.tags.items()
            ]
        return "\n".join([*lines, "", self._conclusion()])

    def _flips(self, what: str, ids: Sequence[str]) -> list[str]:
        """How many, and the first of them by row and first words."""
        if not ids:
            return []
        shown = [f"    {self.labels.get(i, i)}" for i in ids[:FLIPS]]
        more = [f"    and {len(ids) - FLIPS} more"] if len(ids) > FLIPS else []
        return [f"  {what}: {len(ids)}", *shown, *more]

    def _conclusion(self) -> str:
        e, name = self.change[self.metric], messages.label(self.metric)
        size = messages.points(e.value, self.metric)
        if e.high < 0:
            return f"B is worse than A: the {name} is {size} lower."
        if e.low > 0:
            return f"B is better than A: the {name} is {size} higher."
        return "A and B are tied: these prompts show no difference."


def compare(
    a: str, b: str, *, run: str | Path = ".", config: str | Path | None = None, show: int = 0
) -> Comparison:
    """Compare two points of runs, or two files of completions.

    Args:
        a: A step of ``run``, ``RUN:STEP``, ``best``, a run (its latest point), or a file of completions
            (``FILE``, or ``FILE:COLUMN`` for a file with several).
        b: Likewise.
        run: The run that bare steps belong to.
        config: YAML settings; needed to score files of completions.
        show: Prompts whose two answers come with it, what fell most first.

    Raises:
        NotFoundError: If a run or a step is not there.
        ValueError: If the two were not measured alike.
    """
    if show < 0:
        raise ValueError(f"`show` is a number of prompts, at least 0; got {show}")
    first, second = (find(text, Path(run), config) for text in (a, b))
    if first.point.segment != second.point.segment:
        raise ValueError(f"{a} and {b} cannot be compared: {differ(first.facts, second.facts)}")
    found = compare_points(first.point, second.point, names=(a, b), prompts=second.prompts)
    return replace(found, pairs=pairs_of(first, second, found.metric, show))


def compare_points(
    a: EvalPoint, b: EvalPoint, *, names: tuple[str, str], prompts: Sequence[Prompt] = ()
) -> Comparison:
    """B minus A for two points of one segment.

    Args:
        a: The earlier, or the one to beat.
        b: The other.
        names: What to call them.
        prompts: In prompt order, for tags and clusters; empty where they are not known.

    Raises:
        ValueError: If the two hold no common metric, or not the same prompts.
    """
    shown = [m for m in _SHOWN if m in a.values and m in b.values]
    metric = next((m for m in HEADLINES if m in shown), None)
    if metric is None:
        raise ValueError(f"{names[0]} and {names[1]} hold no common metric of {_SHOWN}")
    if a.prompt_ids != b.prompt_ids:
        raise ValueError(f"{names[0]} and {names[1]} do not answer the same prompts")
    known = prompts if len(prompts) == len(b.values[metric]) else ()
    clusters = tables.clusters(known)
    change = {m: stats.paired_change(a.values[m], b.values[m], clusters=clusters) for m in shown}
    deciding = "reward" if "reward" in shown else metric
    noise = max(point.measured.get("noise", 0.0) for point in (a, b)) if deciding == "reward" else 0.0
    difference = stats.settled(b.values[deciding], a.values[deciding], noise=noise)
    head = stats.win_rate(difference, clusters=clusters) if deciding == "reward" else None
    return Comparison(
        a=names[0],
        b=names[1],
        metric=metric,
        before={m: _shared(m, a, b, clusters) for m in shown},
        after={m: _shared(m, b, a, clusters) for m in shown},
        change=change,
        head_to_head=head,
        better=int((difference > 0).sum()),
        worse=int((difference < 0).sum()),
        same=int((difference == 0).sum()),
        lost=_flipped(a, b, difference),
        gained=_flipped(b, a, -difference),
        labels={p.id: p.label for p in known},
        tags=_by_tag(a, b, metric, known),
        left_out=int((~np.isfinite(b.values[metric] - a.values[metric])).sum()),
    )


def _shared(metric: str, of: EvalPoint, other: EvalPoint, clusters: NDArray[np.str_] | None) -> Estimate:
    """Over the prompts known on both sides, so that the change is the difference of the two."""
    both = np.isfinite(of.values[metric]) & np.isfinite(other.values[metric])
    return interval(metric)(np.where(both, of.values[metric], np.nan), clusters=clusters)


def _flipped(won: EvalPoint, lost: EvalPoint, difference: FloatArray) -> tuple[str, ...]:
    """Prompts won at the first and lost at the second, the largest fall first."""
    if "win_rate" not in won.values or not won.prompt_ids:
        return ()
    rows = np.flatnonzero((won.values["win_rate"] > 0.5) & (lost.values["win_rate"] < 0.5))
    return tuple(won.prompt_ids[i] for i in sorted(rows, key=lambda i: (difference[i], i)))


def _by_tag(a: EvalPoint, b: EvalPoint, metric: str, prompts: Sequence[Prompt]) -> dict[str, Estimate]:
    labels = tables.clusters(prompts)
    found: dict[str, Estimate] = {}
    for tag in sorted({tag for prompt in prompts for tag in prompt.tags}):
        rows = np.array([tag in prompt.tags for prompt in prompts])
        part = None if labels is None else labels[rows]
        found[tag] = stats.paired_change(a.values[metric][rows], b.values[metric][rows], clusters=part)
    return dict(sorted(found.items(), key=lambda item: (np.isnan(item[1].value), item[1].value, item[0])))


def _plain(estimates: dict[str, Estimate]) -> dict[str, Any]:
    return {name: plain(e) for name, e in estimates.items()}
