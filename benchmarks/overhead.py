"""What the monitor costs where nothing is to be done: a step that is not due, a score that is known.

    python -m benchmarks.overhead

Targets: under 20 microseconds a step; 10,000 look-ups among 1,000,000 kept scores under 0.2 s. Medians of
several rounds in CPU time; exit 1 if one is missed.
"""

from __future__ import annotations

import argparse
import logging
import random
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerControl, TrainerState, TrainingArguments

from benchmarks.paired import cpu, machine
from benchmarks.workload import random_policy, word_tokenizer
from rm_monitor import RewardMonitor, RewardMonitorCallback
from rm_monitor.cache.scores import ScoreStore
from rm_monitor.training.digest import fingerprint

STEP_SECONDS, LOOK_UP_SECONDS = 20e-6, 0.2
STEPS = 1000


def main(arguments: list[str] | None = None) -> dict[str, list[float]]:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--kept", type=int, default=1_000_000)
    parser.add_argument("--look-ups", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--quick", action="store_true", help="a smoke test: proves nothing")
    given = parser.parse_args(arguments)
    if given.quick:
        given.kept, given.look_ups, given.rounds = 2_000, 500, 2
    print(machine(), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        steps = _steps(Path(folder), given.rounds)
        hits, misses = _look_ups(Path(folder), given.kept, given.look_ups, given.rounds)
    for name, seconds in steps.items():
        print(f"{name}: {_said([s * 1e6 for s in seconds])} microseconds")
    _names(quick=given.quick, rounds=given.rounds)
    for name, seconds in (("known", hits), ("unknown", misses)):
        print(f"{given.look_ups:,} {name} of {given.kept:,} scores: {_said(seconds)} s", flush=True)
    return steps | {"known": hits, "unknown": misses}


def _steps(folder: Path, rounds: int) -> dict[str, list[float]]:
    """Seconds a step of each kind of schedule, none of them due."""
    args = TrainingArguments(output_dir=str(folder / "run"), save_strategy="no", report_to=[])
    state = TrainerState(max_steps=10 * STEPS)
    found = {}
    trained = {"model": random_policy(small=True), "processing_class": word_tokenizer(), "optimizer": None}
    for name, every in (("every 100,000 steps", 100_000), ("with each save of the Trainer", None)):
        monitor = RewardMonitor(
            lambda prompts, completions: [0.0] * len(completions),
            ["Hi"],
            references=["Hello"],
            every=every,
            output_dir=folder / name.replace(" ", "-"),
            report_to=[],
        )
        callback = RewardMonitorCallback(monitor, baseline=False)
        callback.on_train_begin(args, state, TrainerControl(), **trained)
        found[name] = [cpu(_one_round(callback, args, state, trained))[0] / STEPS for _ in range(rounds)]
        assert not monitor.curve, "a step was due"
        monitor.close()
    return found


def _names(*, quick: bool, rounds: int) -> None:
    """Naming the weights, once an evaluation: bytes read a CPU-second."""
    torch.set_num_threads(1)
    policy = random_policy(small=quick)
    size = sum(p.numel() * p.element_size() for p in policy.parameters())
    seconds = [cpu(lambda: fingerprint(policy))[0] for _ in range(rounds + 1)][1:]
    print(f"naming weights of {size / 1e6:.1f} MB: {_said([1e3 * s for s in seconds])} ms", flush=True)


def _one_round(
    callback: RewardMonitorCallback, args: Any, state: Any, others: dict[str, Any]
) -> Callable[[], None]:
    """The events of `STEPS` steps, as the Trainer's callback handler sends them."""
    control = TrainerControl()

    def work() -> None:
        for step in range(1, STEPS + 1):
            state.global_step = step
            callback.on_step_begin(args, state, control, **others)
            callback.on_pre_optimizer_step(args, state, control, **others)
            callback.on_optimizer_step(args, state, control, **others)
            callback.on_substep_end(args, state, control, **others)
            callback.on_step_end(args, state, control, **others)

    return work


def _look_ups(folder: Path, kept: int, asked: int, rounds: int) -> tuple[list[float], list[float]]:
    """Seconds for keys that are known, and for keys that are not, on a store just opened each time."""
    path, rng = folder / "scores.sqlite", random.Random(0)
    store = ScoreStore(path)
    flags = {f"flag:{name}": 0.0 for name in ("overflow", "special_text", "empty", "think", "nonfinite")}
    keys = [rng.randbytes(16) for _ in range(kept)]
    for start in range(0, kept, 100_000):
        part = keys[start : start + 100_000]
        store.put({key: {"reward": rng.gauss(0, 1), **flags} for key in part}, model={"name": "benchmark"})
    assert len(store) == kept
    print(f"{kept:,} scores: {path.stat().st_size / 1e6:.0f} MB", flush=True)
    store.close()
    hits, misses = [], []
    for _ in range(rounds):
        known, unknown = rng.sample(keys, asked), [rng.randbytes(16) for _ in range(asked)]
        for want, seconds, answers in ((known, hits, asked), (unknown, misses, 0)):
            store = ScoreStore(path)
            spent, found = cpu(lambda store=store, want=want: store.get(want))
            assert len(found) == answers
            seconds.append(spent)
            store.close()
    return hits, misses


def _said(values: list[float]) -> str:
    return f"{statistics.median(values):.3g} [{min(values):.3g}, {max(values):.3g}]"


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    found = main()
    late = {name: statistics.median(s) for name, s in found.items()}
    slow = [n for n, s in late.items() if s > (LOOK_UP_SECONDS if "known" in n else STEP_SECONDS)]
    sys.exit(f"missed: {', '.join(slow)}" if slow else 0)
