"""`rm-monitor run` draws the curve that the callback in the script draws: alone, launched, on two ranks."""

import inspect
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
BIN = Path(sys.executable).parent
CLM = os.environ.get("RM_MONITOR_RUN_CLM", "")  # a copy of transformers' examples/.../run_clm.py

LAUNCHERS = {
    "alone": [sys.executable],
    "torchrun": [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"],
    "accelerate": [
        *(sys.executable, "-m", "accelerate.commands.launch", "--cpu", "--num_processes=1"),
        *("--num_machines=1", "--mixed_precision=no", "--dynamo_backend=no"),
    ],
}
CALLBACK = """callbacks=[__import__("rm_monitor").RewardMonitorCallback(
    __import__("rm_monitor").RewardMonitor.from_config("monitor.yaml"))],"""


def run(launcher, words):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    before = [f"--main_process_port={port}"] if launcher == "accelerate" else []
    command = [*LAUNCHERS[launcher], *before, *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]


def with_callback(source, trainer, name):
    """The script as its user would write it: the callback in the call that builds the trainer."""
    assert source.count(f"= {trainer}(\n") == 1
    Path(name).write_text(source.replace(f"= {trainer}(\n", f"= {trainer}(\n{CALLBACK}\n"))
    return name


def curves(given, launcher, unchanged, changed):
    """The curve of the unchanged script under `rm-monitor run`, and of the one with the callback."""
    run(
        launcher,
        ["-m", "rm_monitor", "run", "--config", "monitor.yaml", "--", *unchanged, "--output_dir", "a"],
    )
    run(launcher, [*changed, "--output_dir", "b"])
    return given.curve("a"), given.curve("b")


def told(record_property, name, launcher, a, b):
    figure = f"{name} {launcher}: run {_percent(a)}, callback {_percent(b)}"
    record_property("figure", figure)
    with open(os.environ.get("RM_MONITOR_FIGURES", os.devnull), "a") as file:
        file.write(figure + "\n")


def _percent(curve):
    return " ".join(f"{100 * x:.2f}" for x in curve.values())


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_trls_command_line(given, launcher, record_property):
    from trl.scripts import sft

    script = with_callback(inspect.getsource(sft), "SFTTrainer", "sft_with_callback.py")
    words = ["--config", str(HERE / "sft.yaml"), "--max_steps", "20", "--report_to", "none"]
    a, b = curves(given, launcher, ["trl", "sft", *words], [script, *words])
    told(record_property, "trl sft", launcher, a, b)
    assert list(a) == [0, 10, 20]
    assert a == b


@pytest.mark.skipif(not Path(CLM).is_file(), reason="RM_MONITOR_RUN_CLM=path/to/run_clm.py of transformers")
@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_transformers_own_example(given, launcher, record_property):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained("tiny/policy")
    chats = [json.loads(line)["messages"] for line in Path("data/chat.jsonl").read_text().splitlines()]
    texts = [tokenizer.apply_chat_template(chat, tokenize=False) for chat in chats]
    Path("train.txt").write_text("\n".join(texts) + "\n")
    words = ["--model_name_or_path", "tiny/policy", "--train_file", "train.txt", "--do_train"]
    words += ["--block_size", "48", "--max_steps", "20", "--learning_rate", "3e-3", "--save_strategy", "no"]
    words += ["--per_device_train_batch_size", "8", "--report_to", "none", "--use_cpu"]
    script = with_callback(Path(CLM).read_text(), "Trainer", "clm_with_callback.py")
    a, b = curves(given, launcher, [CLM, *words], [script, *words])
    told(record_property, "run_clm.py", launcher, a, b)
    assert list(a) == [0, 10, 20]
    assert a == b
