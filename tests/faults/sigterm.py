"""SIGTERM, SIGINT and SIGKILL at random moments of a Trainer run, resumed from the last whole checkpoint: the
curve of an unbroken run.

Every run is forked from one process that has imported everything, so that a moment costs a second and not
ten.
"""

from __future__ import annotations

import os
import random
import signal
import tempfile
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tests.faults.policy import save_policy

MOMENTS = 30
STEPS, EVERY = 8, 2


def train(policy: Path, out: Path, resume: str | None) -> None:
    """A run whose monitor answers with the model itself and keeps its own references."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from rm_monitor import RewardMonitor, RewardMonitorCallback, Sampling
    from tests.helpers import tiny_trainer

    torch.set_num_threads(1)
    monitor = RewardMonitor(
        lambda prompts, completions: [float(len(set(c))) for c in completions],
        [f"question {i}" for i in range(6)],
        every=EVERY,
        sampling=Sampling(max_new_tokens=6),
        report_to=[],
        alarm={"horizon": 1 + STEPS // EVERY},
    )
    trainer = tiny_trainer(
        AutoModelForCausalLM.from_pretrained(policy),
        AutoTokenizer.from_pretrained(policy),
        out,
        steps=STEPS,
        save_strategy="steps",
        save_steps=EVERY,
        callbacks=[RewardMonitorCallback(monitor)],
    )
    trainer.train(resume_from_checkpoint=resume)


def forked(
    policy: Path, out: Path, resume: str | None, after: float | None = None, by: int = signal.SIGTERM
) -> tuple[int, float]:
    """Run in a child, ended by a signal after so many seconds; its exit status, its time."""
    began = time.monotonic()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            quiet = os.open(os.devnull, os.O_WRONLY)
            os.dup2(quiet, 1), os.dup2(quiet, 2)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            train(policy, out, resume)
            status = 0
        except BaseException:
            (out.parent / f"{out.name}.error").write_text(traceback.format_exc())
        finally:
            os._exit(status)
    if after is not None:
        time.sleep(after)
        os.kill(child, by)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status), time.monotonic() - began


def last_whole(out: Path) -> str | None:
    """What to resume from. The Trainer takes the newest folder, whole or not."""
    from rm_monitor.checkpoints.disk import problem, step_of

    found = [p for p in out.glob("checkpoint-*") if problem(p) is None and (p / "optimizer.pt").is_file()]
    return str(max(found, key=lambda p: step_of(p) or 0)) if found else None


def curve(out: Path) -> list[Any]:
    """What the history on disk says, without how long it took and which attempt wrote it."""
    from rm_monitor.records.history import History

    history = History(out / "_rm_monitor")
    points = history.points()
    history.close()
    return [(p.step, p.segment, p.status, dict(p.metrics)) for p in points]


def same(a: list[Any], b: list[Any]) -> bool:
    """Equal to the bit, but for two statistics of the logits.

    Answers, rewards and all that comes of them are exact. Entropy and top-10 mass carry float32 noise of
    the batch
    shape, and a resumed process does not know how long its answers were, so it batches otherwise.
    """
    if [row[:3] for row in a] != [row[:3] for row in b]:
        return False
    for (*_, one), (*_, other) in zip(a, b, strict=True):
        if one.keys() != other.keys():
            return False
        for name, estimate in one.items():
            noisy = name.partition("@")[0] in ("entropy", "top10_mass")
            if noisy and not np.allclose(estimate, other[name], rtol=1e-5, equal_nan=True):
                return False
            if not noisy and repr(estimate) != repr(other[name]):
                return False
    return True


def cut_and_resumed(policy: Path, out: Path, moments: Iterator[float], by: int = signal.SIGTERM) -> list[Any]:
    """Terminate a run at the next moment that falls into it, then resume; the curve on disk.

    A run that had ended by then is thrown away: resumed from its last step, the Trainer would train one
    step more.
    """
    for number, after in enumerate(moments):
        folder = out / str(number)
        folder.parent.mkdir(parents=True, exist_ok=True)
        first, _ = forked(policy, folder, None, after, by)
        if first == 0:
            continue
        assert first == (1 if by == signal.SIGINT else -by), first  # Ctrl-C is an exception
        status, _ = forked(policy, folder, last_whole(folder))
        if status != 0:
            error = folder.parent / f"{folder.name}.error"
            raise RuntimeError(error.read_text() if error.is_file() else f"resumed, it ended with {status}")
        return curve(folder)
    raise RuntimeError("no moment fell into the run")


def campaign() -> Iterator[tuple[str, str, str]]:
    """One row a signal."""
    import peft  # noqa: F401  what a run imports on its way is imported once, before any fork

    import tests.helpers  # noqa: F401

    draw = random.Random(0)
    with tempfile.TemporaryDirectory() as folder:
        policy = save_policy(Path(folder) / "policy")
        status, took = forked(policy, Path(folder) / "whole", None)
        assert status == 0
        whole = curve(Path(folder) / "whole")
        assert [step for step, *_ in whole] == list(range(0, STEPS + 1, EVERY))
        moments = iter(lambda: draw.uniform(0.1, 0.9) * took, None)
        for by, number in (
            (signal.SIGTERM, MOMENTS),
            (signal.SIGINT, MOMENTS),
            (signal.SIGKILL, MOMENTS // 3),
        ):
            runs = [Path(folder) / f"{by.name}-{i}" for i in range(number)]
            equal = sum(same(cut_and_resumed(policy, run, moments, by), whole) for run in runs)
            yield (
                f"{by.name} at random moments of a Trainer run, resumed: history equal to the unbroken run",
                f"{number} of {number}",
                f"{equal} of {number}",
            )
