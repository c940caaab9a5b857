"""LLaMA-Factory's own command line under `rm-monitor run`."""

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def test_its_command_line_draws_the_curve_and_keeps_the_best(given):
    command = [sys.executable, "-m", "rm_monitor", "run", "--config", "monitor.yaml", "--"]
    command += ["llamafactory-cli", "train", str(HERE / "sft.yaml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert list(given.curve("out")) == [0, 10, 20, 30]
    assert given.best("out") is not None
