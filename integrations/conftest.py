"""Tests with the real hosts: each runs in its host's own environment (`make hosts`)."""

import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

os.environ.update(
    HF_HUB_OFFLINE="1", WANDB_MODE="offline", OMP_NUM_THREADS="1", TOKENIZERS_PARALLELISM="false"
)
os.environ.update(DO_NOT_TRACK="1", AXOLOTL_DO_NOT_TRACK="1", RAY_USAGE_STATS_ENABLED="0", USE_HF="1")

import pytest
import yaml


@dataclass(frozen=True)
class Given:
    """A folder with tiny models and data, and the settings of a monitor in `monitor.yaml`."""

    folder: Path
    settings: dict

    def curve(self, output_dir):
        """Step -> win probability, as the files have it."""
        from rm_monitor.records.history import History

        (folder,) = self.folder.glob(f"{output_dir}/**/_rm_monitor")
        return {p.step: p.metrics["win_prob"].value for p in History.read(folder)}

    def best(self, output_dir):
        """The best checkpoint, loaded."""
        from transformers import AutoModelForCausalLM

        (folder,) = self.folder.glob(f"{output_dir}/**/_rm_monitor")
        return AutoModelForCausalLM.from_pretrained(folder / "best")


def pytest_addoption(parser):
    parser.addoption("--host", help="which of integrations/lives.py test_hosts.py is about")


@pytest.fixture
def given(tmp_path, monkeypatch):
    """A copy of the task, which is made once an environment."""
    import torch

    from integrations.task import make

    torch.set_num_threads(1)
    task = Path(sys.prefix) / "task"
    if not task.exists():
        half = task.with_suffix(".half")
        shutil.rmtree(half, ignore_errors=True)
        half.mkdir()
        make(half)
        half.rename(task)
    shutil.copytree(task, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RM_MONITOR_CACHE", str(tmp_path / "cache"))
    return Given(tmp_path, yaml.safe_load(Path("monitor.yaml").read_text()))


@pytest.fixture
def formats(given):
    """The same folder with a policy, rows and prompts whose truth is known: `integrations/formats.py`."""
    from integrations import formats

    formats.write(given.folder)
    return formats
