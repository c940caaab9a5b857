"""Reading runs from disk: the best of one, two points side by side, a file of completions judged."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from rm_monitor import stats
from rm_monitor.config import MonitorConfig
from rm_monitor.keeper import Keeper
from rm_monitor.monitor import FOLDER, RewardMonitor
from rm_monitor.stores.history import History
from rm_monitor.types import Estimate, EvalPoint, FloatArray

__all__ = ["Comparison", "best_of", "compare", "score_file"]


def best_of(folder: str | Path) -> dict[str, Any] | None:
    """``best.json`` of a run with the path of its weights; None if no best checkpoint is kept.

    Args:
        folder: The run's ``output_dir``, or its ``_rm_monitor`` folder.
    """
    keeper = Keeper(_folder(folder))
    best = keeper.best()
    return None if best is None else {**keeper.facts(), "path": str(best[1])}


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two points on the same prompts: B minus A.

    Attributes:
        a: What A is.
        b: What B is.
        change: Metric -> paired change with its interval.
        better: Prompts on which B's answer has the higher reward (or outcome).
        worse: Prompts on which A's has.
        flipped: Ids of the prompts that A won against the reference and B lost, largest fall first.
        tags: Tag -> paired change of the headline metric.
        metric: The headline metric.
    """

    a: str
    b: str
    metric: str
    change: dict[str, Estimate]
    better: int
    worse: int
    flipped: tuple[str, ...] = ()
    tags: dict[str, Estimate] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "a": self.a,
            "b": self.b,
            "metric": self.metric,
            "change": {name: list(e) for name, e in self.change.items()},
            "better": self.better,
            "worse": self.worse,
            "flipped": list(self.flipped),
            "tags": {name: list(e) for name, e in self.tags.items()},
        }

    def __str__(self) -> str:
        lines = [f"{self.b} minus {self.a}, prompt by prompt"]
        for name, (value, low, high, n) in self.change.items():
            lines.append(f"  {name:24} {value:+8.4f}   {low:+8.4f} to {high:+8.4f}   n {n}")
        lines.append(f"  better on {self.better} prompts, worse on {self.worse}")
        if self.flipped:
            shown = ", ".join(self.flipped[:8])
            lines.append(
                f"  won before and lost now: {len(self.flipped)} "
                f"({shown}{', ...' if len(self.flipped) > 8 else ''})"
            )
        lines += [
            f"  {self.metric} of {tag}: {e.value:+.4f} ({e.low:+.4f} to {e.high:+.4f}, n {e.n})"
            for tag, e in self.tags.items()
        ]
        return "\n".join(lines)


def compare(a: str, b: str, *, run: str | Path = ".", config: str | Path | None = None) -> Comparison:
    """Compare two points of runs, or two files of completions.

    Args:
        a: A step of ``run``, ``RUN:STEP``, a run (its latest point), or a JSONL file of completions.
        b: Likewise.
        run: The run that bare steps belong to.
        config: YAML settings; needed to score files of completions.

    Raises:
        ValueError: If something is not found, or the two were not measured on the same prompts.
    """
    first, second = (_point(text, Path(run), config) for text in (a, b))
    if first.segment != second.segment:
        raise ValueError(
            f"{a} and {b} were measured with different prompts, references, reward models or sampling: "
            "they cannot be compared"
        )
    return compare_points(first, second, names=(a, b))


def compare_points(a: EvalPoint, b: EvalPoint, *, names: tuple[str, str]) -> Comparison:
    """B minus A for two points of one segment."""
    metric = "win_prob" if "win_prob" in a.values and "win_prob" in b.values else "win_rate"
    shown = [m for m in ("win_prob", "win_rate", "reward", "length") if m in a.values and m in b.values]
    change = {m: stats.paired_change(a.values[m], b.values[m]) for m in shown}
    deciding = "reward" if "reward" in shown else metric
    difference = b.values[deciding] - a.values[deciding]
    return Comparison(
        a=names[0],
        b=names[1],
        metric=metric,
        change=change,
        better=int((difference > 0).sum()),
        worse=int((difference < 0).sum()),
        flipped=_flipped(a, b, difference),
    )


def _flipped(a: EvalPoint, b: EvalPoint, difference: FloatArray) -> tuple[str, ...]:
    if "win_rate" not in a.values or not a.prompt_ids:
        return ()
    lost = np.flatnonzero((a.values["win_rate"] > 0.5) & (b.values["win_rate"] < 0.5))
    return tuple(a.prompt_ids[i] for i in sorted(lost, key=lambda i: difference[i]))


def score_file(completions: str | Path, config: str | Path) -> EvalPoint:
    """Judge a file of completions with the settings of a YAML file; nothing is written."""
    from rm_monitor.generators.recorded import RecordedGenerator  # noqa: PLC0415  the room imports torch

    settings = MonitorConfig.from_yaml(config)
    if settings.references is None:
        raise ValueError("`references` is needed to judge a file: name a column or a file in the settings")
    monitor = RewardMonitor.from_config(settings, generator=RecordedGenerator(completions))
    return monitor.judge_once()


def _point(text: str, run: Path, config: str | Path | None) -> EvalPoint:
    path = Path(text)
    if path.is_file():
        if config is None:
            raise ValueError(f"{text} is a file of completions: pass --config to say what judges it")
        return score_file(path, config)
    folder, _, step = text.rpartition(":") if ":" in text else ("", "", text)
    if step.isdigit():
        return _at(_points(Path(folder) if folder else run), int(step), text)
    if path.is_dir():
        return _points(path)[-1]
    raise ValueError(f"{text!r} is no step, no RUN:STEP, no run and no file")


def _points(folder: Path) -> list[EvalPoint]:
    points = [p for p in History.read(_folder(folder)) if p.values]
    if not points:
        raise ValueError(f"no evaluations in {_folder(folder)}")
    return points


def _at(points: list[EvalPoint], step: int, text: str) -> EvalPoint:
    for point in points:
        if point.step == step:
            return point
    raise ValueError(f"{text}: step {step} was not judged; the judged steps are {[p.step for p in points]}")


def _folder(folder: str | Path) -> Path:
    folder = Path(folder)
    return folder if folder.name == FOLDER else folder / FOLDER
