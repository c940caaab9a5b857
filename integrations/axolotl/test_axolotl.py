"""axolotl's own command line, with the plug-in in its YAML file."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

HERE = Path(__file__).parent


def train(*, add=""):
    config = (HERE / "sft.yaml").read_text() + add
    Path("sft.yaml").write_text(config)
    return subprocess.run(
        [sys.executable, "-m", "axolotl.cli.train", "sft.yaml"], capture_output=True, text=True, check=False
    )


def test_the_plugin_draws_the_curve_and_keeps_the_best(given):
    done = train()
    assert done.returncode == 0, done.stderr[-3000:]
    assert list(given.curve("out")) == [0, 10, 20, 30]
    assert given.best("out") is not None
    assert "rm_monitor: 64 prompts against reference" in done.stdout + done.stderr
    plugin = given.curve("out")
    shutil.rmtree("out")
    text = Path("sft.yaml").read_text().partition("plugins:")[0]
    Path("plain.yaml").write_text(text)
    command = [sys.executable, "-m", "rm_monitor", "run", "--config", "monitor.yaml", "--"]
    done = subprocess.run(
        [*command, "axolotl", "train", "plain.yaml"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert given.curve("out") == pytest.approx(plugin)


def test_a_misspelt_setting_ends_the_run_before_a_model_is_loaded(given):
    done = train(add="  evry: 5\n")
    assert done.returncode != 0
    assert "unknown settings ['evry']" in done.stdout + done.stderr
    assert not Path("out", "_rm_monitor").exists()


def alpaca(formats, **more):
    """Train by `alpaca.yaml`; what was said, and the share of right answers by step."""
    settings = yaml.safe_load(Path("monitor.yaml").read_text()) | more
    config = (HERE / "alpaca.yaml").read_text() + yaml.safe_dump({"rm_monitor": settings})
    Path("alpaca.yaml").write_text(config)
    shutil.rmtree("out", ignore_errors=True)
    command = [sys.executable, "-m", "axolotl.cli.train", "alpaca.yaml"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout + done.stderr, formats.right("out")


def test_type_alpaca_is_said_before_training_and_asked_as_it_is_trained(formats):
    said, asked_as_chat = alpaca(formats)
    assert "NOT ASKED AS TRAINED" in said
    form = formats.setting(said)
    assert form == formats.ALPACA
    said, asked_as_trained = alpaca(formats, prompt_format=form)
    assert "NOT ASKED AS TRAINED" not in said
    print(f"axolotl, type: alpaca: asked by the chat template {asked_as_chat}, as named {asked_as_trained}")
    assert asked_as_trained[formats.STEPS] > asked_as_chat[formats.STEPS] + 0.2
