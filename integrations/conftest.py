"""Tests with the real hosts: each runs in its host's own environment (`make hosts`)."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

os.environ.update(
    HF_HUB_OFFLINE="1", WANDB_MODE="offline", OMP_NUM_THREADS="1", TOKENIZERS_PARALLELISM="false"
)
os.environ.update(DO_NOT_TRACK="1", AXOLOTL_DO_NOT_TRACK="1", RAY_USAGE_STATS_ENABLED="0", USE_HF="1")

import pytest
import yaml

HERE = Path(__file__).parent


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


@pytest.fixture
def given(tmp_path, monkeypatch):
    import torch

    from rm_monitor.testing.tiny import tiny_run

    torch.set_num_threads(1)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RM_MONITOR_CACHE", str(tmp_path / "cache"))
    tiny_run("tiny")
    rows = [json.loads(line) for line in Path("tiny/sft.jsonl").read_text().splitlines()]
    chat = [
        {
            "messages": [
                {"role": "user", "content": row["prompt"]},
                {"role": "assistant", "content": row["completion"]},
            ]
        }
        for row in rows
    ]
    Path("data").mkdir()
    Path("data/chat.jsonl").write_text("".join(json.dumps(row) + "\n" for row in chat))
    alpaca = [{"instruction": row["prompt"], "input": "", "output": row["completion"]} for row in rows]
    Path("data/alpaca.json").write_text(json.dumps(alpaca))
    Path("data/dataset_info.json").write_text(json.dumps({"counting": {"file_name": "alpaca.json"}}))
    settings = yaml.safe_load((HERE / "monitor.yaml").read_text())
    Path("monitor.yaml").write_text(yaml.safe_dump(settings))
    return Given(tmp_path, settings)
