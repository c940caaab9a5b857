"""Every call of a run into the operating system fails in turn: the run trains to its end, and says so.

The table is derived: a run is recorded, each place in our code that calls the system is a row, and each row
fails with each error at its first, middle and last call, and for two training steps.
"""

from __future__ import annotations

import contextlib
import copy
import gc
import io
import logging
import os
import tempfile
import traceback
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from transformers.utils import logging as transformers_logging

from rm_monitor import RewardMonitor, RewardMonitorCallback
from rm_monitor.checkpoints import keeper
from rm_monitor.records.history import History
from tests.faults.calls import ERRORS, Calls, watched
from tests.faults.policy import save_policy
from tests.helpers import CountsGood, Says, tiny_trainer

STEPS = 6
MOMENTS = ("first", "middle", "last", "two steps")


class _Records(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(record.getMessage())


class _Steps(TrainerCallback):
    """Tells which step is under way, and lets the policy get better."""

    at = -1

    def __init__(self, policy: Says) -> None:
        self.policy = policy

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.policy.step = state.global_step

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.at = state.global_step


@dataclass(frozen=True)
class Run:
    """How a run went.

    Attributes:
        ended: What came out of ``train()``; empty: it trained to its last step.
        said: Warnings of ours.
        points: Step and status of what is on disk afterwards.
        failed: Places that failed.
        reached: How often each place was reached.
        best: Whether the best that is told of can be found.
    """

    ended: str
    said: tuple[str, ...]
    points: tuple[tuple[int, str], ...]
    failed: tuple[str, ...]
    reached: Counter[str]
    best: bool


@cache
def _loaded(policy: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(policy)


@contextlib.contextmanager
def _folder(given: Path | None) -> Iterator[Path]:
    """The folder of a run, in memory where that can be; a given one is shared with other ranks."""
    if given is not None:
        yield given.resolve()
        return
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as folder:
        yield Path(folder).resolve()


def run(
    policy: Path,
    tokenizer: Any,
    fails: Any = None,
    error: str = "EIO",
    *,
    out: Path | None = None,
    **arguments: Any,
) -> Run:
    """A tiny Trainer with the monitor, where calls fail as told: ``fails(place, before, step)``."""
    answers = Says(lambda step: step / STEPS)
    steps, records, log = _Steps(answers), _Records(), logging.getLogger("rm_monitor")
    log.addHandler(records)
    propagate, log.propagate = log.propagate, False
    small, keeper._SMALL = keeper._SMALL, 1000  # the weights are linked, as large ones are
    with _folder(out) as out:
        calls = Calls((str(out),), error=error)
        if fails is not None:
            calls.fails = lambda place, before: fails(place, before, steps.at)
        ended = ""
        try:
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                model = copy.deepcopy(_loaded(policy))
                monitor = RewardMonitor(
                    CountsGood(),
                    [f"prompt {i}" for i in range(4)],
                    generator=answers,
                    every=2,
                    output_dir=out,
                    report_to=[],
                )
                trainer = tiny_trainer(
                    model,
                    tokenizer,
                    out,
                    callbacks=[steps, RewardMonitorCallback(monitor)],
                    steps=STEPS,
                    save_strategy="steps",
                    save_steps=2,
                    save_total_limit=2,
                    save_only_model=True,
                    **arguments,
                )
                with watched(calls):
                    trainer.train()
            if trainer.state.global_step != STEPS:
                ended = f"stopped at step {trainer.state.global_step}"
        except Exception as problem:
            ended = f"{type(problem).__name__}: {problem}"
            if os.environ.get("SHOW"):
                traceback.print_exc()
        finally:
            log.removeHandler(records)
            log.propagate, keeper._SMALL = propagate, small
        points = tuple((p.step, p.status) for p in History.read(out / "_rm_monitor"))
        best = monitor.best
        found = best is not None and best.checkpoint is not None and Path(best.checkpoint).is_dir()
    return Run(ended, tuple(records.said), points, tuple(calls.failed), calls.seen, found)


def judge(found: Run, whole: Run) -> str:
    """What is wrong with a run in which calls failed; empty: nothing."""
    if found.ended:
        refused = found.ended.startswith("ValueError: `output_dir`")  # before the first step, with a way out
        return "" if refused else f"training ended: {found.ended}"
    lost = (found.points, found.best) != (whole.points, whole.best)
    if lost and not found.said:
        return f"silent: {found.points}, best found {found.best}"
    if [step for step, _ in found.points] != [step for step, _ in whole.points]:
        return f"the history is not whole: {found.points}"
    most = Counter(found.said).most_common(1)
    return (
        f"said {most[0][1]} times: {most[0][0]}"
        if most and most[0][1] > 3 * max(1, len(found.failed))
        else ""
    )


def at(moment: str, reached: int) -> int | None:
    """Which call of a place fails; None: those of two training steps."""
    return {"first": 0, "middle": reached // 2, "last": reached - 1}.get(moment)


def when(place: str, moment: str, reached: int) -> Any:
    """Whether a call fails, by place, how often it was reached, and training step."""
    number = at(moment, reached)

    def fails(where: str, before: int, step: int) -> bool:
        return where == place and (before == number if number is not None else 3 <= step < 5)

    return fails


def cells(whole: Run) -> list[tuple[str, str, str]]:
    """Place, error and moment of every cell of the table."""
    places = sorted(whole.reached)
    return [(place, error, moment) for error in ERRORS for place in places for moment in MOMENTS]


def setting(folder: Path) -> tuple[Path, Any]:
    """A tiny policy and its tokenizer."""
    torch.set_num_threads(1)
    transformers_logging.set_verbosity_error()
    policy = save_policy(folder / "policy")
    return policy, AutoTokenizer.from_pretrained(policy)


def table(policy: Path, tokenizer: Any, whole: Run, error: str) -> dict[tuple[str, str], str]:
    """What is wrong with each cell of one error, by place and moment; empty: nothing.

    The middle and the last call of a place that is reached once are its first: they are run once.
    """
    found: dict[tuple[str, str], str] = {}
    ran: dict[tuple[str, int | None], str] = {}
    for place, reached in sorted(whole.reached.items()):
        for moment in MOMENTS:
            key = place, at(moment, reached)
            if key not in ran:
                ran[key] = judge(run(policy, tokenizer, when(place, moment, reached), error), whole)
            found[place, moment] = ran[key]
    return found


def campaign() -> Iterator[tuple[str, str, str]]:
    """The whole table, and outages of everything; ``RM_MONITOR_ERRORS=EIO,EMFILE`` asks for a part."""
    with tempfile.TemporaryDirectory() as folder:
        policy, tokenizer = setting(Path(folder))
        run(policy, tokenizer)
        gc.collect()
        gc.freeze()  # each Trainer collects garbage: half of a run's time
        whole = run(policy, tokenizer)
        for error in os.environ.get("RM_MONITOR_ERRORS", ",".join(ERRORS)).split(","):
            found = table(policy, tokenizer, whole, error)
            wrong = {cell: why for cell, why in found.items() if why}
            silent = sum(why.startswith("silent") for why in wrong.values())
            got = f"{len(found) - len(wrong)} of {len(found)}, {silent} silent; {len(whole.reached)} places"
            yield (
                f"every call in turn, {error}, x {len(MOMENTS)} moments: trained on, said, whole",
                f"{len(found)} of {len(found)}, 0 silent",
                got + "".join(f"; {cell}: {why:.150}" for cell, why in list(wrong.items())[:5]),
            )
        for first, last in ((-1, 99), (-1, 2), (2, 4), (3, 99)):
            bad = []
            for error in ERRORS:
                found = run(policy, tokenizer, lambda w, b, s, lo=first, hi=last: lo <= s < hi, error)
                why = judge(found, whole)
                if why and not (last == 99 and why.startswith("the history is not whole")):
                    bad.append((error, why))
            yield (
                f"outage of everything, steps {first} to {last}",
                "0 ended or silent",
                f"{len(bad)} ended or silent {bad or ''}",
            )
