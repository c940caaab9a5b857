"""A sweep over a run's checkpoints against the callback that judged them live: one process, two, and Ray."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from rm_monitor import RewardMonitor, RewardMonitorCallback
from rm_monitor.records.history import History
from rm_monitor.sweep.discover import Source
from rm_monitor.sweep.run import sweep
from tests.faults.watching import settings


def train(folder: Path) -> tuple[Path, str]:
    """A Trainer run with the callback that keeps every checkpoint."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from tests.helpers import tiny_trainer

    config, policy = settings(folder / "models")
    monitor = RewardMonitor.from_config(replace(config, every=4))
    tiny_trainer(
        AutoModelForCausalLM.from_pretrained(policy),
        AutoTokenizer.from_pretrained(policy),
        folder / "out",
        steps=24,
        save_strategy="steps",
        save_steps=4,
        callbacks=[RewardMonitorCallback(monitor)],
    ).train()
    return folder / "out", policy


def same(a: Mapping[str, np.ndarray], b: Mapping[str, np.ndarray]) -> bool:
    """Scores and comparisons to the bit; entropies, of rows decoded beside other rows, to float noise."""
    noisy = ("entropy", "top10_mass")
    return a.keys() == b.keys() and all(
        np.allclose(a[name], b[name], rtol=0.0, atol=1e-6 if name in noisy else 0.0, equal_nan=True)
        for name in a
    )


def swept(folder: Path, out: Path, policy: str, **how: object) -> str:
    """``n of n`` per-prompt values and verdicts equal to the callback's."""
    config, _ = settings(folder / "again")
    target = folder / "swept"
    shutil.rmtree(target, ignore_errors=True)
    monitor, _ = sweep(Source(folder=out, base=policy), replace(config, output_dir=str(target)), **how)
    live, ours = History.read(out / "_rm_monitor"), History.read(target / "_rm_monitor")
    equal = sum(same(a.values, b.values) for a, b in zip(live, ours, strict=True))
    alone = RewardMonitor.from_config(replace(config, output_dir=str(out)))
    alone.begin(resume_step=2**53)
    agree = alone.verdict.state == monitor.verdict.state
    alone.close()
    monitor.close()
    return f"{equal} of {len(live)} checkpoints, verdict {'equal' if agree else 'differs'}"


def campaign() -> Iterator[tuple[str, str, str]]:
    """The rows of the table."""
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        out, policy = train(folder)
        reach = "7 of 7 checkpoints, verdict equal"
        yield "sweep in one process = callback", reach, swept(folder, out, policy)
        yield "sweep with --jobs 2 = callback", reach, swept(folder, out, policy, jobs=2)
        if find_spec("ray") is None:
            yield "sweep with --ray local = callback", reach, "not run: ray is not installed"
            return
        yield "sweep with --ray local = callback", reach, swept(folder, out, policy, ray="local")
        threading.Thread(target=_kill_a_worker, daemon=True).start()
        name = "the same, a worker killed on the way"
        yield name, reach, swept(folder, out, policy, ray="local")


def _kill_a_worker() -> None:
    """SIGKILL the first Ray worker that measures."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                if b"ray::measure_checkpoint" in path.read_bytes():
                    os.kill(int(path.parent.name), signal.SIGKILL)
                    print("killed a worker", flush=True)
                    return
            except OSError:
                continue
        time.sleep(0.05)
