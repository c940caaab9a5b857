"""A watcher beside jobs that are killed: it never reads what is not whole, and loses no due step unsaid."""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import yaml

from rm_monitor.checkpoints.disk import problem
from rm_monitor.monitor.config import MonitorConfig
from rm_monitor.records.history import History
from rm_monitor.sweep.discover import Source
from rm_monitor.sweep.watcher import Watcher
from rm_monitor.testing.tiny import tiny_run

# Writes a checkpoint as the Trainer does: weights in place under the final name, trainer_state.json last.
WRITER = """
import json, os, sys, time
from pathlib import Path
source, target, step = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
target.mkdir(parents=True)
print("begun", flush=True)
for path in sorted(source.iterdir()):
    data = path.read_bytes()
    with (target / path.name).open("wb") as file:
        for i in range(0, len(data), 512):
            file.write(data[i : i + 512])
            file.flush()
            time.sleep(0.00005)  # a slow disk, so that kills land inside
state = {"global_step": step, "max_steps": 10**6, "save_steps": 1}
text = json.dumps({**state, "log_history": [{"loss": 1.0}] * 200})
with (target / "trainer_state.json").open("w") as file:
    for i in range(0, len(text), 64):
        file.write(text[i : i + 64])
        file.flush()
"""

TRAINER = """
import sys, time, torch
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from transformers.trainer_utils import get_last_checkpoint
from rm_monitor.checkpoints.disk import problem
from tests.helpers import tiny_trainer
torch.set_num_threads(1)
policy, out = sys.argv[1:3]
class Says(TrainerCallback):
    def on_step_end(self, args, state, control, **kwargs):
        time.sleep(0.1)  # a step takes time, so that a watcher has some
    def on_save(self, args, state, control, **kwargs):
        print(state.global_step, flush=True)
whole = [p for p in __import__("pathlib").Path(out).glob("checkpoint-*") if problem(p) is None]
last = max(whole, key=lambda p: int(p.name.partition("-")[2]), default=None)
tiny_trainer(AutoModelForCausalLM.from_pretrained(policy), AutoTokenizer.from_pretrained(policy), out,
             steps=60, n_rows=256, save_strategy="steps", save_steps=4, save_total_limit=2,
             callbacks=[Says()]).train(resume_from_checkpoint=last and str(last))
"""


def settings(folder: Path) -> tuple[MonitorConfig, str]:
    tiny = tiny_run(folder)
    text = {
        "reward_model": tiny.reward_model,
        "prompts": tiny.prompts,
        "references": "reference",
        "sampling": {"max_new_tokens": 4},
        "report_to": "none",
    }
    (folder / "monitor.yaml").write_text(yaml.safe_dump(text))
    return MonitorConfig.from_yaml(folder / "monitor.yaml"), str(tiny.policy)


def partial_checkpoints(folder: Path, *, tries: int, seed: int = 0) -> tuple[int, int, int]:
    """Kill a writer at random moments and look each time.

    Returns:
        Checkpoints left half-written, half-written ones that were loaded, and whole ones.
    """
    config, policy = settings(folder / "models")
    rng = random.Random(seed)
    run = folder / "run"
    run.mkdir()
    whole = {p.name: p.stat().st_size for p in Path(policy).iterdir()}
    loaded: list[bool] = []

    class Checks(Source):
        def load(self, path):
            loaded.append(all((path / n).stat().st_size == size for n, size in whole.items() if n[0] != "."))
            return Source.load(self, path)

    watcher = Watcher(Checks(folder=run), replace(config, output_dir=str(run)), rest=0.0)
    half, judged = 0, 0
    for step in range(1, tries + 1):
        target = run / f"checkpoint-{step}"
        command = [sys.executable, "-S", "-c", WRITER, policy, str(target), str(step)]
        writer = subprocess.Popen(command, stdout=subprocess.PIPE)
        writer.stdout.readline()
        time.sleep(rng.uniform(0, 0.3))
        writer.send_signal(signal.SIGSTOP)
        watcher.look()  # while it writes
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        complete = problem(target) is None
        half += not complete
        watcher.look()
        judged += complete
        shutil.rmtree(target)
    return half, loaded.count(False), judged


def live_training(
    folder: Path, *, kills: int, pre_rotation: bool, seed: int = 0
) -> tuple[set[int], set[int], set[int], int, int]:
    """Saved steps, judged steps, steps said to be missed, looks, and looks at which the best did not load."""
    from transformers import AutoModelForCausalLM

    config, policy = settings(folder / "models")
    rng = random.Random(seed)
    run = folder / "run"
    run.mkdir()
    watcher = Watcher(
        Source(folder=run), replace(config, output_dir=str(run)), rest=0.2, pre_rotation=pre_rotation
    )
    saved: set[int] = set()
    looks = broken = 0
    for left in range(kills, -1, -1):
        command = [sys.executable, "-c", TRAINER, policy, str(run)]
        with (folder / "err").open("w") as err:
            job = subprocess.Popen(command, stdout=(folder / "out").open("w"), stderr=err)
        deadline = None
        while job.poll() is None:
            time.sleep(0.02)
            watcher.look()
            looks += 1
            best = run / "_rm_monitor" / "best"
            if best.exists():
                try:
                    AutoModelForCausalLM.from_pretrained(best)
                except Exception:
                    broken += 1
            if left and deadline is None and (folder / "out").stat().st_size:
                deadline = time.monotonic() + rng.uniform(0.2, 3.0)
            if deadline is not None and time.monotonic() > deadline:
                job.send_signal(signal.SIGKILL)
                job.wait()
        said = (folder / "out").read_text().splitlines()
        saved |= {int(line) for line in said if line.isdigit()}
    for _ in range(20):
        time.sleep(0.1)
        watcher.look()
    points = History.read(run / "_rm_monitor")
    judged = {p.step for p in points if p.status == "ok"}
    missed = {p.step for p in points if p.status == "skipped"} | set(watcher.swept.left_out)
    return saved, judged, missed, looks, broken


def campaign() -> Iterator[tuple[str, str, str]]:
    """The rows of the table."""
    with tempfile.TemporaryDirectory() as folder:
        half, wrong, judged = partial_checkpoints(Path(folder), tries=200)
        yield (
            "half-written checkpoints loaded by a watcher, writer killed 200 times",
            "0 loaded",
            f"0 loaded of {half} half-written, {judged} whole ones" if not wrong else f"{wrong} loaded",
        )
    for pre_rotation in (False, True):
        with tempfile.TemporaryDirectory() as folder:
            saved, judged, missed, looks, broken = live_training(
                Path(folder), kills=4, pre_rotation=pre_rotation
            )
        how = ", --pre-rotation" if pre_rotation else ""
        yield (
            f"rotating job killed 4 times{how}: saved steps neither judged nor said to be missed",
            "0 steps",
            f"{len(saved - judged - missed)} steps of {len(saved)}: {len(judged)} judged, "
            f"{len(missed - judged)} said to be missed",
        )
        yield f"best not loadable, at any look{how}", "0 looks", f"{broken} looks of {looks}"
