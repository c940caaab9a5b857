"""axolotl's own command line, with the plug-in in its YAML file."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

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
