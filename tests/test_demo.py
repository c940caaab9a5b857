"""The demo shows what it is meant to show."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.wandb_file import history


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    done = subprocess.run(
        [sys.executable, "-m", "rm_monitor", "demo", "--output-dir", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    return folder, done.stdout


def test_the_demo_is_flagged_after_the_blow_up_and_never_before(demo):
    _, out = demo
    lines = [line for line in out.splitlines() if line.startswith("rm_monitor step")]
    before = [line for line in lines if int(line.split()[2]) <= 200]
    assert len(lines) == 16
    assert not any("DEGRADED" in line for line in before)
    assert any("DEGRADED" in line for line in lines)


def test_the_best_of_the_demo_loads(demo):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder, _ = demo
    best = folder / "_rm_monitor" / "best"
    AutoModelForCausalLM.from_pretrained(best)
    AutoTokenizer.from_pretrained(best)


def test_every_point_of_the_demo_is_in_the_wandb_file_at_its_step(demo):
    folder, _ = demo
    (path,) = Path(folder / "wandb").glob("offline-run-*/run-*.wandb")
    rows = [row for row in history(path) if "rm_monitor/win_prob" in row]
    assert [row["train/global_step"] for row in rows] == list(range(0, 301, 20))
    assert all(
        row["rm_monitor/win_prob_low"] <= row["rm_monitor/win_prob"] <= row["rm_monitor/win_prob_high"]
        for row in rows
    )
    losses = [row for row in history(path) if "train/loss" in row]
    assert [row["train/global_step"] for row in losses] == list(range(20, 301, 20))
