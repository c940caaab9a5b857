"""What an evaluation costs beside answers and scores, after 100, 1,000 and 5,000 of them; opening a run."""

from __future__ import annotations

import io
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import numpy as np

from rm_monitor import RewardMonitor
from rm_monitor.curve.measured import Measured
from rm_monitor.testing import Says
from rm_monitor.types import Completion, Table

PROMPTS = 32
BOUNDS = {100: 0.1, 1_000: 0.15, 5_000: 0.3}  # CPU-seconds an evaluation
OPENING = 5.0  # CPU-seconds for 5,000
FAST = "/dev/shm" if os.path.isdir("/dev/shm") else None


def measured(step: int, draw: np.random.Generator, ids: tuple[str, ...]) -> Measured:
    """An evaluation as a judge would have found it: noise around a curve that rises and levels off."""
    values = draw.normal(1 - np.exp(-step / 500), 1.0, (PROMPTS, 1))
    said = tuple((Completion(prompt_id=i, text=f"an answer of step {step}"),) for i in ids)
    return Measured(
        table=Table(
            prompt_ids=ids, completions=said, values={"reward": values, "win_rate": (values > 0.5) * 1.0}
        )
    )


def monitor(folder: Path) -> RewardMonitor:
    """One that judges by hand, and writes its page, its verdict and its best as any other."""
    return RewardMonitor(
        lambda prompts, completions: [0.0] * len(completions),
        [f"question {i}" for i in range(PROMPTS)],
        references=[f"reference {i}" for i in range(PROMPTS)],
        generator=Says("nothing"),
        every=1,
        output_dir=folder,
        report_to=[],
        alarm={"horizon": max(BOUNDS)},
    )


def costs(points: dict[int, float]) -> tuple[dict[int, float], dict[int, float]]:
    """CPU-seconds of an evaluation's bookkeeping, and of opening the run, at each of these lengths."""
    draw, each, opening = np.random.default_rng(0), {}, {}
    with (
        tempfile.TemporaryDirectory(dir=FAST) as folder,
        redirect_stdout(io.StringIO()),
        redirect_stderr(io.StringIO()),
    ):
        one = monitor(Path(folder))
        ids = tuple(p.id for p in one.settings.prompts)
        step = 0
        run = one.begin()
        for length in sorted(points):
            history = run._shared.recorder._history
            while step < length - 10:  # written as an evaluation writes it, without judging
                point = one._parts.point_of(measured(step, draw, ids), step=step)
                history.append(point, measured(step, draw, ids).table)
                step += 1
            one.close()
            began = time.process_time()
            run = one.begin(resume_step=step)
            opening[length] = time.process_time() - began
            began = time.process_time()
            for _ in range(10):
                run.record(measured(step, draw, ids), step=step)
                step += 1
            each[length] = (time.process_time() - began) / 10
        one.close()
    return each, opening


def campaign() -> Iterator[tuple[str, str, str]]:
    """Two rows."""
    each, opening = costs(BOUNDS)
    fine = all(each[n] <= BOUNDS[n] for n in BOUNDS)
    yield (
        "bookkeeping of an evaluation at 100 / 1,000 / 5,000 points, CPU-s (.1 / .15 / .3)",
        "within",
        f"{'within' if fine else 'beyond'}: {' / '.join(f'{each[n]:.3f}' for n in BOUNDS)}",
    )
    yield (
        "opening a run of 100 / 1,000 / 5,000 points, CPU-s (5 for 5,000)",
        "within",
        f"{'within' if opening[5_000] <= OPENING else 'beyond'}: "
        f"{' / '.join(f'{opening[n]:.2f}' for n in BOUNDS)}",
    )
