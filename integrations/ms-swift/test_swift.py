"""ms-swift's own command line, with the plug-in it imports by path."""

import json
import subprocess
import sys
from pathlib import Path

ARGUMENTS = {
    "model": "tiny/policy",
    "model_type": "llama",
    "template": "dummy",
    "tuner_type": "full",
    "dataset": "data/chat.jsonl",
    "max_steps": 20,
    "output_dir": "out",
    "per_device_train_batch_size": 4,
    "learning_rate": 3e-3,
    "save_strategy": "no",
    "eval_strategy": "no",
    "torch_dtype": "float32",
    "max_length": 64,
    "report_to": "none",
    "callbacks": "rm_monitor",
}


def plugin_path():
    command = [sys.executable, "-m", "rm_monitor.integrations.swift"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def swift(arguments):
    words = [word for name, value in arguments.items() for word in (f"--{name}", str(value))]
    return [sys.executable, "-m", "swift.cli.sft", *words]


def test_the_plugin_draws_the_curve_and_its_best_is_the_trainers(given):
    plugin = plugin_path()
    assert [p.name for p in Path(plugin).parent.glob("*.py")] == ["rm_monitor_swift.py"]
    done = subprocess.run(
        swift({**ARGUMENTS, "external_plugins": plugin}), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    curve = given.curve("out")
    assert list(curve) == [0, 10, 20]
    assert given.best("out") is not None
    (best,) = Path("out").glob("*/_rm_monitor/best.json")
    assert json.loads(best.read_text())["step"] in curve
    assert "is left alone" not in done.stdout + done.stderr
