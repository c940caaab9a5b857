"""`rm-monitor run`: a script that knows nothing of the monitor has its curve, alone and in two processes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rm_monitor import RewardMonitor, RewardMonitorCallback
from rm_monitor.cli import app
from rm_monitor.integrations import script
from rm_monitor.integrations.settings import read
from rm_monitor.integrations.trainer import monitored
from rm_monitor.records.history import History
from tests.helpers import tiny_trainer

ROOT = Path(__file__).parents[1]
SCRIPT = """
import sys
from transformers import AutoModelForCausalLM, AutoTokenizer
from tests.helpers import tiny_trainer
from tests.test_run import extra

if __name__ == "__main__":
    policy, out, batch = sys.argv[1:4]
    tokenizer = AutoTokenizer.from_pretrained(policy)
    trainer = tiny_trainer(
        AutoModelForCausalLM.from_pretrained(policy, attention_dropout=0.0),
        tokenizer,
        out,
        steps=4,
        per_device_train_batch_size=int(batch),
        callbacks=extra(*sys.argv[4:]),
    )
    trainer.train()
    print("the script's own last line")
    sys.exit(7)
"""


def extra(config=None):
    """The callback, for the script that names it."""
    return [] if config is None else [RewardMonitorCallback(RewardMonitor.from_config(config))]


@pytest.fixture
def given(tmp_path, tiny_policy_dir, tiny_reward_model_dir):
    import yaml

    settings = {
        "reward_model": str(tiny_reward_model_dir),
        "prompts": str(tmp_path / "prompts.jsonl"),
        "references": "reference",
        "every": 2,
        "sampling": {"max_new_tokens": 4},
        "report_to": "none",
    }
    (tmp_path / "train.py").write_text(SCRIPT)
    rows = [{"prompt": f"say {i}", "reference": f"{i}"} for i in range(6)]
    (tmp_path / "prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "monitor.yaml").write_text(yaml.safe_dump(settings))
    return tmp_path, str(tiny_policy_dir)


def curve(out):
    return [(p.step, p.metrics["reward"].value, p.weights) for p in History.read(out / "_rm_monitor")]


def started(*words, cwd):
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, check=False, cwd=cwd, env=env
    )


def test_an_unchanged_script_has_the_curve_of_the_script_with_the_callback(given, monkeypatch):
    folder, policy = given
    monkeypatch.chdir(folder)
    config = str(folder / "monitor.yaml")
    done = CliRunner().invoke(app, ["run", "--config", config, "--", "train.py", policy, "out", "4"])
    assert done.exit_code == 7, done.output  # the script's own
    assert "the script's own last line" in done.output
    with pytest.raises(SystemExit):
        script.run(script.Target(kind="file", name="train.py", argv=(policy, "named", "4", config)))
    found = curve(folder / "out")
    assert [step for step, _, _ in found] == [0, 2, 4]
    assert found == curve(folder / "named")


@pytest.mark.distributed
@pytest.mark.xdist_group("distributed")
def test_under_torchrun_it_is_the_script_that_is_launched(given):
    folder, policy = given
    launch = ["-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_addr", "127.0.0.1"]
    launch += ["--rdzv_backend", "c10d", "--rdzv_endpoint", "127.0.0.1:0", "-m", "rm_monitor"]
    done = started(
        *launch, "run", "--config", "monitor.yaml", "--", "train.py", policy, "two", "2", cwd=folder
    )
    assert "the script's own last line" in done.stdout, done.stderr[-3000:]
    steps = [step for step, _, _ in curve(folder / "two")]
    assert steps == [0, 2, 4]
    assert done.stdout.count("judged by") == 1


def test_a_script_that_fails_shows_its_traceback_and_exits_2(given, monkeypatch, capsys):
    folder, _ = given
    monkeypatch.chdir(folder)
    (folder / "train.py").write_text("raise RuntimeError('no such data')")
    done = CliRunner().invoke(app, ["run", "--config", "monitor.yaml", "train.py", "--lr", "3"])
    assert done.exit_code == 2
    assert 'train.py", line 1, in <module>' in done.output + done.stderr


@pytest.mark.parametrize(
    ("words", "kind", "name", "argv"),
    [
        (["trl", "dpo", "--config", "a.yaml"], "module", "trl.scripts.dpo", ("--config", "a.yaml")),
        (["llamafactory-cli", "train", "a.yaml"], "module", "llamafactory.launcher", ("a.yaml",)),
        (["axolotl", "train", "a.yaml"], "module", "axolotl.cli.train", ("a.yaml",)),
        (["swift", "rlhf", "--x", "1"], "module", "swift.cli.rlhf", ("--x", "1")),
        (["python", "-m", "json.tool", "a"], "module", "json.tool", ("a",)),
        (["-m", "json.tool"], "module", "json.tool", ()),
        (["json.tool", "a"], "module", "json.tool", ("a",)),
        (["pytest", "-q"], "command", "pytest", ("-q",)),
        ([__file__, "--a"], "file", __file__, ("--a",)),
        (["python3", __file__], "file", __file__, ()),
    ],
)
def test_what_is_run_is_told_from_the_command_line_a_user_types(words, kind, name, argv):
    assert script.find(words) == script.Target(kind=kind, name=name, argv=argv)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["torchrun", "train.py"], "Let it launch rm-monitor"),
        (["accelerate", "launch", "train.py"], "accelerate launch -m rm_monitor run"),
        (["nowhere.py"], "no script, console script or module 'nowhere.py'"),
        (["-m"], "-m needs the name"),
        ([], "nothing to run"),
    ],
)
def test_what_cannot_be_monitored_is_refused_with_the_way_out(words, said):
    with pytest.raises(ValueError, match=said):
        script.find(words)


def test_argv_and_path_are_as_before_when_a_script_has_ended(tmp_path):
    (tmp_path / "s.py").write_text("import sys; assert sys.argv[1:] == ['--a']; sys.exit(3)")
    argv, path = list(sys.argv), list(sys.path)
    with pytest.raises(SystemExit, match="3"):
        script.run(script.find([str(tmp_path / "s.py"), "--a"]))
    assert (sys.argv, sys.path) == (argv, path)


def test_every_trainer_gets_one_callback_behind_its_loggers_and_one_monitor_serves_all(
    tmp_path, tiny_policy, tiny_tokenizer
):
    built = []

    def build():
        built.append(
            RewardMonitor(lambda p, c: [0.0] * len(c), ["Hi"], references=["Hello"], report_to="none")
        )
        return built[-1]

    def callbacks(**more):
        trainer = tiny_trainer(tiny_policy, tiny_tokenizer, tmp_path, **more)
        found = trainer.callback_handler.callbacks
        return [c for c in found if isinstance(c, RewardMonitorCallback)], found

    own = RewardMonitorCallback(build())
    with monitored(build, stop_on_degradation=True):
        ours, every = callbacks(report_to=["tensorboard"] if _has("tensorboard") else [])
        assert len(ours) == 1
        assert ours[0].stop_on_degradation
        names = [type(c).__name__ for c in every]
        assert names.index("RewardMonitorCallback") > names.index("DefaultFlowCallback")
        assert callbacks()[0][0].monitor is ours[0].monitor
        assert callbacks(callbacks=[own])[0] == [own]
    assert len(built) == 2
    assert callbacks()[0] == []


def _has(name):
    from importlib.util import find_spec

    return find_spec(name) is not None


def test_settings_of_the_callback_stand_beside_those_of_the_monitor(tmp_path):
    config, options = read({"reward_model": "rm", "prompts": "p", "every": 5, "select_best": False})
    assert (config.prompts, options) == ("p", {"select_best": False})
    with pytest.raises(ValueError, match="stop_on_degradaton"):
        read({"reward_model": "rm", "prompts": "p", "stop_on_degradaton": True})
    (tmp_path / "list.yaml").write_text("- a")
    with pytest.raises(ValueError, match="must hold a mapping of settings, got list"):
        read(tmp_path / "list.yaml")
