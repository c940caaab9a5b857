"""Checkpoints of a finished run give the records that the callback wrote while it ran."""

import json

import numpy as np
import pytest

from rm_monitor import RewardMonitor, RewardMonitorCallback
from rm_monitor.records.history import History
from rm_monitor.sweep.discover import Source
from rm_monitor.sweep.run import sweep
from tests.helpers import tiny_trainer


def rows(folder):
    return {p.step: p.values for p in History.read(folder / "_rm_monitor")}


def same(a, b):
    return all(np.array_equal(a[name], b[name], equal_nan=True) for name in a) and a.keys() == b.keys()


@pytest.fixture
def trained(tmp_path, tiny_policy, tiny_tokenizer, config):
    """A run with the callback that kept all its checkpoints."""
    monitor = RewardMonitor.from_config(config.model_copy(update={"every": 2}))
    trainer = tiny_trainer(
        tiny_policy,
        tiny_tokenizer,
        tmp_path / "out",
        steps=6,
        callbacks=[RewardMonitorCallback(monitor)],
        save_strategy="steps",
        save_steps=2,
    )
    trainer.train()
    return tmp_path / "out", monitor


def test_a_sweep_gives_the_callbacks_numbers_prompt_by_prompt(trained, config, tmp_path, tiny_policy_dir):
    out, live = trained
    config = config.model_copy(update={"output_dir": str(tmp_path / "swept")})
    monitor, swept = sweep(Source(folder=out, base=str(tiny_policy_dir)), config)
    assert swept.judged == [0, 2, 4, 6]
    ours, theirs = rows(tmp_path / "swept"), rows(out)
    assert ours.keys() == theirs.keys()
    assert all(same(ours[step], theirs[step]) for step in ours)
    assert monitor.verdict.state == live.verdict.state
    again, nothing = sweep(Source(folder=out, base=str(tiny_policy_dir)), config)
    assert nothing.judged == []
    assert nothing.known == [2, 4, 6]
    assert again.best.step == monitor.best.step


def test_an_adapter_is_judged_on_its_base(tmp_path, tiny_policy, tiny_policy_dir, config):
    from peft import LoraConfig, get_peft_model

    model = get_peft_model(tiny_policy, LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False))
    model.save_pretrained(tmp_path / "adapters" / "step-7")
    monitor, swept = sweep(Source(folder=tmp_path / "adapters", base=str(tiny_policy_dir)), config)
    assert swept.judged == [0, 7]
    assert [p.status for p in monitor.curve] == ["ok", "ok"]


def test_weights_in_a_folder_inside_each_checkpoint_are_found(job, config):
    whole = job.save(10)
    (job.folder / "global_step_10" / "actor").mkdir(parents=True)
    whole.rename(job.folder / "global_step_10" / "actor" / "huggingface")
    source = Source(folder=job.folder, inside="actor/huggingface")
    _, swept = sweep(source, config)
    assert swept.judged == [10]


def test_two_folders_of_one_step_are_refused(job):
    job.save(10)
    (job.folder / "step-10").mkdir()
    with pytest.raises(ValueError, match="are both step 10"):
        Source(folder=job.folder).discover()


def test_a_pattern_without_a_step_is_refused(tmp_path):
    with pytest.raises(ValueError, match="needs a group for the step"):
        Source(folder=tmp_path, pattern="checkpoint")


def test_the_command_line_sweeps_and_watches_and_sets_the_exit_code(job, config, tmp_path):
    from typer.testing import CliRunner

    from rm_monitor.cli import app

    job.save(10, last=20)
    arguments = [str(job.folder), "--config", str(tmp_path / "monitor.yaml"), "--json"]
    swept = CliRunner().invoke(app, ["sweep", *arguments])
    assert swept.exit_code == 0, swept.output
    assert json.loads(swept.stdout.splitlines()[-1])["judged"] == [10]
    job.save(20, last=20)
    watched = CliRunner().invoke(app, ["watch", *arguments, "--rest", "0", "--poll", "0.01"])
    assert watched.exit_code == 0, watched.output
    assert json.loads(watched.stdout.splitlines()[-1])["judged"] == [20]


@pytest.mark.parametrize("references", ["reference", None])
def test_the_best_is_confirmed_on_prompts_that_the_run_was_not_judged_on(
    job, config, tmp_path, tiny_policy_dir, references
):
    from rm_monitor.sweep.confirm import confirm

    for step in (10, 20, 30):
        job.save(step)
    rows = [{"prompt": f"Held out {i}", "reference": f"Answer {i}"} for i in range(30)]
    (tmp_path / "held-out.jsonl").write_text("\n".join(map(json.dumps, rows)))
    config = config.model_copy(update={"references": references})
    source = Source(folder=job.folder, base=None if references else str(tiny_policy_dir))
    monitor, _ = sweep(source, config)
    before = (job.folder / "_rm_monitor" / "history.jsonl").read_bytes()
    found = confirm(monitor, source, config, tmp_path / "held-out.jsonl", top=3)
    assert found.n == (15, 15)
    assert [len(stage) for stage in found.stages] == [3, 2]
    assert found.best.step in found.stages[-1]
    assert found.best.value.n == 15
    assert (job.folder / "_rm_monitor" / "history.jsonl").read_bytes() == before


def test_the_command_line_confirms(job, config, tmp_path):
    from typer.testing import CliRunner

    from rm_monitor.cli import app

    job.save(10)
    rows = [{"prompt": f"Held out {i}", "reference": f"Answer {i}"} for i in range(10)]
    (tmp_path / "held-out.jsonl").write_text("\n".join(map(json.dumps, rows)))
    call = ["sweep", str(job.folder), "--config", str(tmp_path / "monitor.yaml"), "--json"]
    done = CliRunner().invoke(app, [*call, "--confirm", "1", "--held-out", str(tmp_path / "held-out.jsonl")])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout.splitlines()[-1])["confirmed"]["step"] == 10
