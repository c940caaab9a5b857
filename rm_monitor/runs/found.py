"""The two sides of a comparison: a step of a run, its best, its latest point, or a file of completions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from rm_monitor import messages
from rm_monitor.errors import NotFoundError
from rm_monitor.report.facts import facts
from rm_monitor.runs.beside import Pair
from rm_monitor.runs.read import load_run
from rm_monitor.runs.score import score_file
from rm_monitor.types import EvalPoint, Prompt, Table

__all__ = ["Found", "differ", "find", "pairs_of"]


class Found(NamedTuple):
    """One side.

    Attributes:
        point: Its numbers.
        prompts: In prompt order.
        table: Its completions; None where they were not kept.
        facts: How it was made, in words.
    """

    point: EvalPoint
    prompts: Sequence[Prompt]
    table: Table | None
    facts: Mapping[str, str]


def find(text: str, run: Path, config: str | Path | None) -> Found:
    """What is meant by ``best``, ``400``, ``RUN``, ``RUN:400``, ``FILE`` or ``FILE:COLUMN``.

    Raises:
        NotFoundError: If it is nothing of these, or not there.
        ValueError: If a file is to be judged and nothing says by what.
    """
    path, _, after = text.rpartition(":")
    if Path(text).is_file() or (path and Path(path).is_file()):
        if config is None:
            raise ValueError(f"{text} is a file of completions: pass --config to say what judges it")
        return Found(*score_file(text, config), {})
    if text.isdigit() or text == "best":
        return _at(run, text)
    if path and (after.isdigit() or after == "best"):
        return _at(Path(path), after)
    if Path(text).is_dir():
        return _at(Path(text), "")
    raise NotFoundError(f"{text!r} is no step, no RUN:STEP, no run and no file")


def _at(folder: Path, step: str) -> Found:
    """A step of a run; ``best``; or, for an empty text, its latest point."""
    run = load_run(folder)
    points = [p for p in run.curve if p.values]
    if not points:
        raise NotFoundError(f"no evaluation of {folder} has numbers")
    if step == "best":
        if run.verdict.best is None:
            raise NotFoundError(f"{folder} has no best step yet")
        step = str(run.verdict.best.step)
    for point in points:
        if not step or point.step == int(step):
            found = point if step else points[-1]
            return Found(found, run.prompts, run.table(found.step), facts(run.manifest))
    raise NotFoundError(
        f"step {step} of {folder} was not judged; the judged steps are {[p.step for p in points]}"
    )


def pairs_of(a: Found, b: Found, metric: str, most: int) -> tuple[Pair, ...]:
    """The prompts that fell most, with both answers; of several samples the first."""
    if not most or a.table is None or b.table is None:
        return ()
    fall = b.point.values[metric] - a.point.values[metric]
    by_id = {p.id: p for p in b.prompts}
    order = sorted(range(len(fall)), key=lambda i: (np.isnan(fall[i]), fall[i], i))[:most]
    found = []
    for i in order:
        key = b.table.prompt_ids[i]
        prompt = by_id.get(key)
        values = [messages.number(float(x.point.values[metric][i]), metric) for x in (a, b)]
        said = [f"{messages.label(metric)} {value}" for value in values]
        found.append(
            Pair(
                label=key if prompt is None else prompt.label,
                prompt="" if prompt is None else prompt.text,
                answers=(a.table.completions[i][0].text, b.table.completions[i][0].text),
                values=(said[0], said[1]),
            )
        )
    return tuple(found)


def differ(a: Mapping[str, str], b: Mapping[str, str]) -> str:
    """In what two set-ups differ, with both values."""
    asked = ("prompts", "references", "reward model", "its fingerprint", "sampling", "seed")
    parts = [
        f"{name}: {a[name]} / {b[name]}" for name in asked if name in a and name in b and a[name] != b[name]
    ]
    return "; ".join(parts) or "other prompts, references, reward models or sampling"
