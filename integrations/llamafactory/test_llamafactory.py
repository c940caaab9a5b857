"""LLaMA-Factory's own command line under `rm-monitor run`."""

import shutil
import subprocess
import sys
from pathlib import Path

import yaml

HERE = Path(__file__).parent


def test_its_command_line_draws_the_curve_and_keeps_the_best(given):
    command = [sys.executable, "-m", "rm_monitor", "run", "--config", "monitor.yaml", "--"]
    command += ["llamafactory-cli", "train", str(HERE / "sft.yaml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert list(given.curve("out")) == [0, 10, 20, 30]
    assert given.best("out") is not None


def train(formats, template, **more):
    """Train on Alpaca's rows in a template; what was said, and the share of right answers by step."""
    settings = yaml.safe_load(Path("monitor.yaml").read_text()) | more
    Path("monitor.yaml").write_text(yaml.safe_dump(settings))
    config = yaml.safe_load((HERE / "sft.yaml").read_text())
    config |= {"model_name_or_path": "policy", "template": template, "cutoff_len": 256, "dataset_dir": "data"}
    config |= {"per_device_train_batch_size": 16, "max_steps": formats.STEPS}
    Path("sft.yaml").write_text(yaml.safe_dump(config))
    shutil.rmtree("out", ignore_errors=True)
    command = [sys.executable, "-m", "rm_monitor", "run", "--config", "monitor.yaml", "--"]
    command += ["llamafactory-cli", "train", "sft.yaml"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout + done.stderr, formats.right("out")


def test_a_template_that_is_not_the_tokenizers_is_said_and_asked_as_it_is_trained(formats):
    said, asked_as_chat = train(formats, "zephyr")
    assert "NOT ASKED AS TRAINED" in said
    form = formats.setting(said)
    assert "You are Zephyr" in form
    said, asked_as_trained = train(formats, "zephyr", prompt_format=form)
    assert "NOT ASKED AS TRAINED" not in said
    print(f"LLaMA-Factory, template: zephyr: chat template {asked_as_chat}, as named {asked_as_trained}")
    assert asked_as_trained[formats.STEPS] > asked_as_chat[formats.STEPS] + 0.2


def test_template_alpaca_replaces_the_chat_template_and_is_asked_as_it_is(formats):
    said, right = train(formats, "alpaca")
    assert "NOT ASKED AS TRAINED" not in said
    print(f"LLaMA-Factory, template: alpaca: {right}")
    assert right[formats.STEPS] > 0.25
