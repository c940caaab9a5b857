"""SIGKILL at random moments of writing, pinning, evaluating and training: nothing acknowledged is lost.

A child tells what it has done, once it is done; it is killed at a random moment after that; the next child
goes on in the same folder. Children are forked from a process that has all modules loaded, so that a kill
costs milliseconds.
"""

from __future__ import annotations

import os
import random
import signal
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from rm_monitor import RewardMonitor
from rm_monitor.checkpoints.disk import problem, step_of
from rm_monitor.checkpoints.keeper import Keeper
from rm_monitor.records.history import History
from rm_monitor.runs import best_of
from tests.faults.damage import point_and_table
from tests.faults.pinning import FAST, checkpoint, fault, step_of_weights

Ack = Callable[[int], None]
LAST = 120  # step of the last evaluation


def run_and_kill(work: Callable[[Ack], None], wait: float) -> tuple[list[int], bool]:
    """Run in a forked child and kill it some seconds after its first word.

    Returns:
        What it acknowledged, and whether it was killed before its end.
    """
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.close(ours)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            work(lambda step: os.write(theirs, f"{step}\n".encode()))  # type: ignore[arg-type, return-value]
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    os.close(theirs)
    told, status = os.read(ours, 65536), 0
    end, done = time.monotonic() + wait, 0
    while not done and time.monotonic() < end:
        time.sleep(min(0.01, max(end - time.monotonic(), 0)))
        done, status = os.waitpid(pid, os.WNOHANG)
    if not done:
        os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
    while piece := os.read(ours, 65536):
        told += piece
    os.close(ours)
    killed = os.WIFSIGNALED(status)
    if not killed and os.WEXITSTATUS(status):
        raise RuntimeError("a child failed by itself")
    return [int(line) for line in told.split()], killed


def writing(kills: int, rng: random.Random, counts: Counter[str]) -> None:
    """Evaluations written one after another; ten kills a folder."""
    while counts["kills"] < kills:
        with tempfile.TemporaryDirectory(dir=FAST) as temporary:
            done: set[int] = set()
            for _ in range(10):
                start = max(done, default=-1) + 1

                def work(ack: Ack, start: int = start, folder: str = temporary) -> None:
                    history = History(folder)
                    history.begin(start - 1 if start else None)
                    for step in range(start, start + 10_000):
                        history.append(*point_and_table(step))
                        ack(step)

                told, killed = run_and_kill(work, rng.uniform(0, 0.02))
                counts["kills"] += killed
                done |= set(told)
                found = {p.step: p for p in History.read(temporary)}
                counts["acknowledged"] += len(told)
                for step in told:
                    expected, table = point_and_table(step)
                    kept, rows = found.get(step), History.read_table(temporary, step)
                    fine = kept is not None and kept.metrics == expected.metrics and rows is not None
                    fine = (
                        fine
                        and rows is not None
                        and np.array_equal(rows.values["reward"], table.values["reward"])
                    )
                    counts["lost"] += not fine


def pinning(kills: int, rng: random.Random, counts: Counter[str]) -> None:
    """Checkpoints pinned, marked as the best and let go of; ten kills a folder."""
    while counts["kills"] < kills:
        with tempfile.TemporaryDirectory(dir=FAST) as temporary:
            folder, best = Path(temporary), 0
            (folder / "_rm_monitor").mkdir()
            for _ in range(10):

                def work(ack: Ack, start: int = best + 1, folder: Path = folder) -> None:
                    keeper = Keeper(folder / "_rm_monitor")
                    keeper.tidy()
                    for step in range(start, start + 10_000):
                        keeper.pin(step, checkpoint(folder, step))
                        keeper.mark_best(step, {"value": step})
                        ack(step)
                        keeper.prune({step})

                told, killed = run_and_kill(work, rng.uniform(0, 0.03))
                counts["kills"] += killed
                counts["acknowledged"] += len(told)
                best = max(told, default=best)
                why = fault(folder, {best, best + 1})
                counts["unloadable"] += why is not None
                if why:
                    counts[f"unloadable: {why}"] += 1


# ---------------------------------------------------------------------------- evaluating


class Answers:
    """Better and better, then worse: a function of the step alone."""

    def __init__(self) -> None:
        self.step = 0

    def generate(self, prompts: Any, sampling: Any, **_: Any) -> Any:
        from tests.helpers import Says

        says = Says(lambda step: 0.3 + 0.5 * step / 60 if step <= 60 else 0.2)
        says.step = self.step
        return says.generate(prompts, sampling)


def evaluate(folder: Path, resume: int | None, ack: Ack) -> None:
    """A hand-written loop from a step to the end; the best so far is saved each time."""
    from tests.helpers import CountsGood

    answers = Answers()
    monitor = RewardMonitor(
        CountsGood(),
        [f"prompt {i}" for i in range(24)],
        references=[f"prompt {i} " + "good " * 5 for i in range(24)],
        every=10,
        output_dir=folder,
        generator=answers,
        report_to="none",
        alarm={"horizon": 13},
    )
    if resume is not None:
        monitor.begin(resume_step=resume)
    for step in range(0 if resume is None else resume + 10, LAST + 1, 10):
        answers.step = step

        def save(where: Path, step: int = step) -> None:
            for path in checkpoint(folder / "scratch", step, state=False).iterdir():
                (where / path.name).write_bytes(path.read_bytes())

        monitor.step(step, save=save)
        ack(step)
    monitor.close()


def curve(folder: Path) -> list[Any]:
    """What the history says, without what depends on the clock."""
    points = History.read(folder / "_rm_monitor")
    return [(p.step, p.status, p.segment, dict(p.metrics)) for p in points]


def evaluating(kills: int, rng: random.Random, counts: Counter[str]) -> None:
    """Runs killed again and again, each resumed from a step that was acknowledged, or from the one before."""
    import rm_monitor.generators.engine
    import rm_monitor.training.undisturbed  # noqa: F401  loaded here once, not in each child: torch takes seconds

    with tempfile.TemporaryDirectory(dir=FAST) as temporary:
        run_and_kill(lambda ack: evaluate(Path(temporary), None, ack), 120)
        true, true_best = curve(Path(temporary)), best_of(temporary)
    assert true_best is not None
    while counts["kills"] < kills:
        with tempfile.TemporaryDirectory(dir=FAST) as temporary:
            folder, resume, killed = Path(temporary), None, True
            while killed:

                def work(ack: Ack, folder: Path = folder, resume: int | None = resume) -> None:
                    evaluate(folder, resume, ack)

                wait = rng.uniform(0, 0.15)
                told, killed = run_and_kill(work, wait if counts["kills"] < kills else 60)
                counts["kills"] += killed
                counts["acknowledged"] += len(told)
                found = {point[0]: point for point in curve(folder)}
                counts["lost"] += sum(found.get(p[0]) != p for p in true if p[0] in told)
                best = best_of(folder)
                if best is not None and step_of_weights(Path(best["path"])) != best["step"]:
                    counts["unloadable"] += 1
                counts["unloadable"] += best is None and len(told) > 0 and max(told) > 0
                if told:
                    resume = max(told[0], told[-1] - 10 * rng.randrange(2))
            counts["resumed"] += 1
            last = best_of(folder)
            counts["unequal"] += curve(folder) != true or last is None or last["step"] != true_best["step"]


# ---------------------------------------------------------------------------- a Trainer


def train(folder: Path, tiny: Any, resume: str | None, ack: Ack) -> None:
    """A tiny Trainer run with the callback."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback

    from rm_monitor import RewardMonitorCallback, Sampling
    from tests.helpers import tiny_trainer

    torch.set_num_threads(1)
    tokenizer = AutoTokenizer.from_pretrained(tiny.policy)
    monitor = RewardMonitor(
        lambda prompts, completions: [float(len(set(c))) for c in completions],
        [f"count from one to {word}" for word in ("two", "three", "four", "five", "six", "seven")],
        every=2,
        sampling=Sampling(max_new_tokens=6),
        report_to="none",
        alarm={"horizon": 6},
    )

    class Tells(TrainerCallback):  # type: ignore[misc]
        def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            ack(state.global_step)

    trainer = tiny_trainer(
        AutoModelForCausalLM.from_pretrained(tiny.policy),
        tokenizer,
        folder,
        steps=10,
        save_strategy="steps",
        save_steps=2,
        callbacks=[RewardMonitorCallback(monitor), Tells()],
    )
    trainer.train(resume_from_checkpoint=resume)


def training(kills: int, rng: random.Random, counts: Counter[str]) -> None:
    """Trainer runs that are killed, each resumed from its newest whole checkpoint."""
    import transformers

    import rm_monitor.generators.engine
    import rm_monitor.training.undisturbed  # noqa: F401
    from rm_monitor.testing.tiny import tiny_run
    from tests.helpers import tiny_trainer  # noqa: F401

    transformers.logging.set_verbosity_error()
    with tempfile.TemporaryDirectory() as temporary:
        tiny = tiny_run(Path(temporary) / "tiny")
        run_and_kill(lambda ack: train(Path(temporary) / "whole", tiny, None, ack), 120)
        true, true_best = curve(Path(temporary) / "whole"), best_of(Path(temporary) / "whole")
        assert true_best is not None
        assert len(true) == 6
        number = 0
        while counts["kills"] < kills:
            number += 1
            folder, resume, killed = Path(temporary) / f"run-{number}", None, True
            while killed:

                def work(ack: Ack, folder: Path = folder, resume: str | None = resume) -> None:
                    train(folder, tiny, resume, ack)

                wait = rng.uniform(0, 0.6)
                told, killed = run_and_kill(work, wait if counts["kills"] < kills else 120)
                counts["kills"] += killed
                counts["acknowledged"] += len(told)
                found = {point[0]: point for point in curve(folder)}
                counts["lost"] += sum(found.get(p[0]) != p for p in true if p[0] in told)
                best = best_of(folder)
                counts["unloadable"] += best is not None and problem(best["path"]) is not None
                whole = [p for p in folder.glob("checkpoint-*") if problem(p) is None]
                resume = str(max(whole, key=lambda p: step_of(p) or 0)) if whole else None
            counts["resumed"] += 1
            last = best_of(folder)
            counts["unequal"] += curve(folder) != true or last is None or last["step"] != true_best["step"]


def campaign() -> Iterator[tuple[str, str, str]]:
    """500 kills."""
    rng = random.Random(0)
    total: Counter[str] = Counter()
    for kind, kills in ((writing, 180), (pinning, 180), (evaluating, 130), (training, 10)):
        counts: Counter[str] = Counter()
        kind(kills, rng, counts)
        total += counts
    got = f"{total['kills']} kills, {total['lost']} acknowledged rows lost"
    got += f", {total['unloadable']} unloadable best"
    more = "".join(f"; {k}" for k in total if k.startswith("unloadable:"))
    reach = "500 kills, 0 acknowledged rows lost, 0 unloadable best"
    got += f" ({total['acknowledged']:,} acknowledged){more}"
    yield "SIGKILL while writing, pinning, evaluating, training", reach, got
    same = f"{total['resumed'] - total['unequal']} of {total['resumed']}"
    yield (
        "killed and resumed runs equal to an undisturbed one",
        f"{total['resumed']} of {total['resumed']}",
        same,
    )
