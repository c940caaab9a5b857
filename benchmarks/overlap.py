"""What ``overlap=True`` takes from training: wall-clock seconds, for it is about time and not about work.

    python -m benchmarks.overlap

One process trains the random policy (AdamW, 4 rows of 128 tokens a step, one thread) and judges it every few
steps: not at all, in place, and with a second process. Needs two cores that nobody else uses, and says how
busy they were. The first evaluation, in place in both cases, and the second process's start come before the
clock. Answers of both are asserted equal.
"""

from __future__ import annotations

import argparse
import logging
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks.judges import random_judge
from benchmarks.paired import machine, ratio, rotated, table
from benchmarks.workload import WORDS, random_policy, random_prompts, word_tokenizer
from rm_monitor import RewardMonitor, Sampling

NEVER, IN_PLACE, OVERLAP = "never judged", "in place", "overlap=True"


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--prompts", type=int, default=32)
    parser.add_argument("--every", type=int, default=12)
    parser.add_argument("--evaluations", type=int, default=4)
    parser.add_argument("--tokens", type=int, default=80)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="a smoke test: proves nothing")
    given = parser.parse_args(arguments)
    if given.quick:
        given.prompts, given.every, given.evaluations, given.tokens, given.rounds = 6, 2, 2, 8, 1
    torch.set_num_threads(1)
    print(machine(), f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores", flush=True)
    spent: dict[str, list[dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        os.environ["RM_MONITOR_CACHE"] = str(Path(folder) / "cache")
        random_judge(Path(folder) / "judge", word_tokenizer(), small=given.quick)
        for turn in range(given.rounds):
            said: dict[str, Any] = {}
            for name in rotated([NEVER, IN_PLACE, OVERLAP], turn):
                seconds, said[name] = _run(name, given, Path(folder), turn)
                spent.setdefault(name, []).append(seconds)
                print(turn, name, {k: round(v, 3) for k, v in seconds.items()}, flush=True)
            assert said[IN_PLACE] == said[OVERLAP], "answers differ"
    rows = {
        name: {k: f"{statistics.median(r[k] for r in runs):.3f}" for k in runs[0]}
        | {"all": ratio([r["all, s"] for r in runs], [r["all, s"] for r in spent[NEVER]])}
        for name, runs in spent.items()
    }
    steps = given.every * given.evaluations
    print(
        f"{steps} steps, {given.evaluations} evaluations of {given.prompts} prompts\n{table(rows)}",
        flush=True,
    )
    return {"rows": rows}


def _run(name: str, given: argparse.Namespace, folder: Path, turn: int) -> tuple[dict[str, float], Any]:
    """Seconds of one run, by what they went to, and what it said."""
    model, tokenizer = random_policy(small=given.quick, seed=turn), word_tokenizer()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    rows = torch.Generator().manual_seed(0)
    shown: list[Any] = []
    monitor = None
    warm = 1 if name == NEVER else 1 + given.every  # the second evaluation starts the second process
    if name != NEVER:
        monitor = RewardMonitor(
            str(folder / "judge"),
            [{"id": p.id, "prompt": list(p.messages)} for p in random_prompts(given.prompts)],
            every=given.every,
            output_dir=folder / f"{name}-{turn}",
            sampling=Sampling(temperature=0.0, max_new_tokens=given.tokens),
            report_to=_Shown(shown),
            overlap=name == OVERLAP,
            on_error="raise",
        )
        monitor.evaluate(model, tokenizer, step=0)
    still, training = 0.0, []
    began = time.perf_counter()
    for step in range(1, warm + given.every * given.evaluations):
        if step == warm:
            if monitor is not None:
                monitor.run.collect(wait=True)
            still, training, began = 0.0, [], time.perf_counter()
        at = time.perf_counter()
        _train_step(model, optimizer, rows)
        training.append(time.perf_counter() - at)
        at = time.perf_counter()
        if monitor is not None:
            monitor.step(step, model, tokenizer)
        still += time.perf_counter() - at
    at = time.perf_counter()
    if monitor is not None:
        monitor.run.collect(wait=True)
    end = time.perf_counter()
    if monitor is not None:
        monitor.close()
    seconds = {
        "all, s": end - began,
        "stood still, s an evaluation": still / given.evaluations,
        "waited at the end, s": end - at,
        "a training step, s": statistics.median(training),
    }
    return seconds, shown


def _train_step(model: Any, optimizer: Any, rows: torch.Generator) -> None:
    ids = torch.randint(5, WORDS, (4, 128), generator=rows)
    logits = model.train()(input_ids=ids).logits
    torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten()).backward()
    optimizer.step()
    optimizer.zero_grad()


class _Shown:
    """A sink that keeps the texts."""

    def __init__(self, shown: list[Any]) -> None:
        self._shown = shown

    def show(self, update: Any) -> None:
        """See `rm_monitor.Sink`."""
        texts = [[c.text for c in row] for row in update.table.completions]
        self._shown.append((update.point.step, texts))


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    main()
