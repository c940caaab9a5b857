"""Checkpoints as a Trainer leaves them, made from the tiny policy with other weights at each step."""

import json
import shutil
from pathlib import Path

import pytest
import yaml


@pytest.fixture(scope="session")
def weights(tmp_path_factory, tiny_policy_dir):
    """Step -> a folder with weights of their own."""
    import torch
    from transformers import AutoModelForCausalLM

    made = {}

    def of(step):
        if step not in made:
            folder = tmp_path_factory.mktemp("weights") / str(step)
            model = AutoModelForCausalLM.from_pretrained(tiny_policy_dir)
            with torch.random.fork_rng():
                torch.manual_seed(step)
                for p in model.parameters():
                    p.data.add_(0.05 * step**0.5 * torch.randn_like(p))
            model.save_pretrained(folder)
            for path in Path(tiny_policy_dir).glob("*token*"):
                shutil.copy(path, folder)
            shutil.copy(Path(tiny_policy_dir) / "chat_template.jinja", folder)
            made[step] = folder
        return made[step]

    return of


@pytest.fixture
def job(tmp_path, weights):
    """A job that saves checkpoints and rotates them."""
    return Job(tmp_path / "run", weights)


class Job:
    def __init__(self, folder, weights):
        self.folder, self.weights = folder, weights
        folder.mkdir()

    def save(self, step, *, every=10, last=50, whole=True):
        folder = self.folder / f"checkpoint-{step}"
        shutil.copytree(self.weights(step), folder, dirs_exist_ok=True)
        state = {"global_step": step, "max_steps": last, "save_steps": every}
        if whole:
            (folder / "trainer_state.json").write_text(json.dumps(state))
        return folder

    def delete(self, *steps):
        for step in steps:
            shutil.rmtree(self.folder / f"checkpoint-{step}")


@pytest.fixture
def config(tmp_path, tiny_reward_model_dir):
    from rm_monitor.monitor.config import MonitorConfig

    prompts = [{"prompt": p, "reference": f"An answer to {p}"} for p in ("Tides?", "Colours?", "Hello!")]
    (tmp_path / "prompts.jsonl").write_text("\n".join(map(json.dumps, prompts)))
    settings = {
        "reward_model": str(tiny_reward_model_dir),
        "prompts": str(tmp_path / "prompts.jsonl"),
        "references": "reference",
        "sampling": {"max_new_tokens": 5},
        "report_to": "none",
    }
    (tmp_path / "monitor.yaml").write_text(yaml.safe_dump(settings))
    return MonitorConfig.from_yaml(tmp_path / "monitor.yaml")
