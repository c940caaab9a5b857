"""Hundreds of evaluations in one process: memory, open files and threads stay where they are."""

from __future__ import annotations

import gc
import io
import os
import tempfile
import threading
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from rm_monitor import RewardMonitor, Sampling, load_scorer
from rm_monitor.testing.tiny import tiny_run

PROMPTS = 8
BOUND = (
    24_000  # bytes an evaluation: the point itself stays on the curve, its values and words, and nothing else
)


def evaluations(number: int) -> dict[str, float]:
    """So many evaluations with a tiny policy and a tiny reward model, everything on.

    Returns:
        What the second half added, its last tenth of all left out: ``files``, ``threads``, ``bytes each``
        (python's and numpy's allocations), ``rss each`` (the process's memory); and seconds of the ``first``
        and of the ``last`` tenth, in which nothing is traced.
    """
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary, redirect_stdout(io.StringIO()):
        tiny = tiny_run(Path(temporary) / "tiny")
        model, tokenizer = (
            AutoModelForCausalLM.from_pretrained(tiny.policy),
            AutoTokenizer.from_pretrained(tiny.policy),
        )
        monitor = RewardMonitor(
            load_scorer(tiny.reward_model),
            [f"count from {i} to nine" for i in range(PROMPTS)],
            every=1,
            output_dir=Path(temporary) / "run",
            sampling=Sampling(max_new_tokens=3),
            report_to="none",
            alarm={"horizon": number},
        )
        took: list[float] = []

        def some(first: int, last: int) -> None:
            for step in range(first, last):
                began = time.perf_counter()
                monitor.step(step, model, tokenizer, save=model.save_pretrained if step % 10 == 0 else None)
                took.append(time.perf_counter() - began)

        some(0, number // 2)
        before = _now()
        tracemalloc.start()
        traced = _traced()
        tenth = max(number // 10, 1)
        traced_until = max(number - tenth, number // 2 + 1)
        some(number // 2, traced_until)
        grown = {name: value - before[name] for name, value in _now().items()}
        seen = traced_until - number // 2
        each = (_traced() - traced) / seen
        tracemalloc.stop()
        some(traced_until, number)
        assert [p.status for p in monitor.curve] == ["ok"] * number
        monitor.close()
    return {
        "files": grown["files"],
        "threads": grown["threads"],
        "bytes each": each,
        "rss each": grown["rss"] / seen,
        "first": sum(took[:tenth]) / tenth,
        "last": sum(took[-tenth:]) / tenth,
    }


def _now() -> dict[str, float]:
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return {
        "files": len(os.listdir("/proc/self/fd")),
        "threads": threading.active_count(),
        "rss": pages * os.sysconf("SC_PAGE_SIZE"),
    }


def _traced() -> int:
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


def campaign() -> Iterator[tuple[str, str, str]]:
    """500 evaluations."""
    grown: dict[str, Any] = evaluations(500)
    fine = not grown["files"] and not grown["threads"] and grown["bytes each"] < BOUND
    got = "no growth in memory, files, threads" if fine else "growth"
    got += f": {grown['files']:+.0f} files, {grown['threads']:+.0f} threads"
    got += f", {grown['bytes each'] / 1000:.1f} kB of python's memory an evaluation (the curve itself)"
    got += f", {grown['rss each'] / 1000:.1f} kB of the process"
    got += f"; {grown['first']:.2f} s the first, {grown['last']:.2f} s the last"
    yield "soak: 500 evaluations in one process", "no growth in memory, files, threads", got
