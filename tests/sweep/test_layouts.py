"""Checkpoints of other trainers are found by looking; what cannot be loaded is said with the switch for it.

The folders have the shapes of verl 0.9.1, OpenRLHF 0.11.2, torchtune 0.6.1, torchtitan 0.3.0 and llm-foundry,
made by hand.
"""

import json
import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rm_monitor.sweep.discover import Source
from rm_monitor.sweep.layouts import LAYOUTS, NAMES, find


@pytest.fixture
def write(tmp_path, tiny_policy_dir, tiny_tokenizer_dir):
    def whole(path, *, config=True, tokenizer=True):
        target = tmp_path / path
        target.mkdir(parents=True)
        for file in tiny_policy_dir.iterdir():
            if config or file.name == "model.safetensors":
                shutil.copy(file, target)
        if not tokenizer:
            for file in target.glob("tokenizer*"):
                file.unlink()
        return target

    def stub(path, text="x"):
        target = tmp_path / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)

    whole.stub = stub
    return whole


def found(folder, **how):
    source = Source(folder=folder, **how)
    return source.found_layout().name, [
        (f.step, str(f.path.relative_to(folder)), f.problem) for f in source.discover()
    ]


@pytest.mark.parametrize(
    ("inside", "beside"),
    [
        ("actor/huggingface", "actor/fsdp_config.json"),
        ("actor/model/huggingface", "actor/ckpt_contents.json"),
        ("huggingface", "data_0.pt"),
    ],
)
def test_verl_is_found_in_each_of_its_layouts(tmp_path, write, inside, beside):
    for step in (10, 20):
        write(f"global_step_{step}/{inside}")
        write.stub(f"global_step_{step}/{beside}")
    write.stub("latest_checkpointed_iteration.txt", "20")
    name, places = found(tmp_path)
    assert name == "verl"
    assert places == [(step, f"global_step_{step}/{inside}", None) for step in (10, 20)]


def test_a_verl_run_that_saved_no_weights_is_told_the_switch(tmp_path, write):
    write("global_step_10/actor/huggingface").joinpath("model.safetensors").unlink()
    write.stub("global_step_10/actor/model_world_size_2_rank_0.pt")
    _, [(step, _, why)] = found(tmp_path)
    assert step == 10
    assert "no safetensors weights are there (verl: checkpoint.save_contents needs hf_model" in why


def test_openrlhf_is_read_beside_its_deepspeed_folders_and_told_the_switch_without_them(tmp_path, write):
    write.stub("run/global_step10/mp_rank_00_model_states.pt")
    write.stub("run/latest", "global_step10")
    _, [(_, _, why)] = found(tmp_path / "run")
    assert "OpenRLHF: --ckpt.save_hf" in why
    write("run/global_step10_hf")
    assert found(tmp_path / "run") == ("openrlhf", [(10, "global_step10_hf", None)])


def test_torchtunes_epochs_count_from_1_and_the_base_keeps_step_0(tmp_path, write):
    for epoch in (0, 1):
        write(f"epoch_{epoch}")
    assert found(tmp_path, base="base") == ("torchtune", [(1, "epoch_0", None), (2, "epoch_1", None)])


def test_a_checkpoint_of_step_0_beside_a_base_is_refused(tmp_path, write):
    write("step_0")
    assert found(tmp_path)[1] == [(0, "step_0", None)]
    with pytest.raises(ValueError, match="step_0 is step 0, and so is the base"):
        found(tmp_path, base="base")


def test_weights_without_a_config_need_to_be_told_what_model_they_are_of(tmp_path, write, tiny_policy_dir):
    folder = tmp_path / "run"
    write.stub("run/checkpoint/step-10/__0_0.distcp")
    write.stub("run/checkpoint/step-10/.metadata")
    write("run/checkpoint/step-20", config=False)
    name, places = found(folder)
    assert name == "torchtitan"
    assert "last_save_in_hf" in places[0][2]
    assert "--model-config BASE" in places[1][2]
    source = Source(folder=folder, model_config=str(tiny_policy_dir))
    last = source.discover()[1]
    assert last.problem is None
    model, tokenizer = source.load(last.path)
    whole, _ = Source(folder=folder, base=str(tiny_policy_dir)).load(None)
    assert all(a.equal(b) for a, b in zip(model.parameters(), whole.parameters(), strict=True))
    assert tokenizer is not None


def test_weights_of_another_model_are_refused(tmp_path, write, tiny_policy_dir):
    config = json.loads((tiny_policy_dir / "config.json").read_text())
    other = tmp_path / "other"
    shutil.copytree(tiny_policy_dir, other)
    (other / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 3}))
    write("run/step_10", config=False)
    source = Source(folder=tmp_path / "run", model_config=str(other))
    with pytest.raises(ValueError, match=r"are not those of .*: 9 missing, 0 unexpected"):
        source.load(tmp_path / "run" / "step_10")


@pytest.mark.parametrize(
    ("name", "folder", "checkpoint", "step"),
    [
        ("llm-foundry", "run", "huggingface/ba10", 10),
        ("llm-foundry", "run", "ep0-ba200", 200),
        ("prime-rl", "run", "weights/step_10", 10),
        ("trainer", "run", "checkpoint-10", 10),
        ("trainer", "run/weights", "step_10", 10),
    ],
)
def test_folders_below_and_names_of_other_trainers_are_found(tmp_path, write, name, folder, checkpoint, step):
    whole = write(f"{folder}/{checkpoint}")
    if name == "trainer" and checkpoint.startswith("checkpoint"):
        (whole / "trainer_state.json").write_text(json.dumps({"global_step": step}))
    assert found(tmp_path / folder) == (name, [(step, checkpoint, None)])


def test_a_checkpoint_on_another_disk_is_found_by_its_link_and_a_link_to_a_neighbour_is_none(tmp_path, write):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "step_10").symlink_to(write("elsewhere/ten"))
    write("run/step_20")
    (tmp_path / "run" / "step_99").symlink_to("step_20")
    assert [step for step, _, _ in found(tmp_path / "run")[1]] == [10, 20]


def test_folders_that_match_nothing_are_named(tmp_path):
    (tmp_path / "model_e3").mkdir()
    assert r"look like ['model_e(\\d+)']: pass one as `pattern`" in Source(folder=tmp_path).nothing()


def test_a_layout_that_is_not_known_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"`layout` must be one of \['verl', .* got 'deepspeed'"):
        Source(folder=tmp_path, layout="deepspeed")


@given(st.integers(0, 10**9))
@settings(max_examples=50, deadline=None)
def test_every_pattern_gives_the_number_in_its_name(tmp_path_factory, number):
    import re

    names = {
        "verl": "global_step_{}",
        "torchtune": "epoch_{}",
        "torchtitan": "step-{}",
        "llm-foundry": "ba{}",
        "nemo-rl": "step_{}",
        "prime-rl": "step_{}",
        "trainer": "checkpoint-{}",
    }
    for layout in LAYOUTS:
        if layout.name in names:
            match = re.fullmatch(layout.pattern, names[layout.name].format(number))
            assert match is not None
            assert int(match.group(1)) == number
    assert set(names) | {"openrlhf"} == set(NAMES)


def test_an_empty_folder_has_the_trainers_layout(tmp_path):
    assert find(tmp_path).name == "trainer"
    assert found(tmp_path) == ("trainer", [])


def test_a_sweep_that_could_judge_nothing_exits_2_and_says_so(
    tmp_path, write, tiny_reward_model_dir, monkeypatch
):
    import yaml
    from typer.testing import CliRunner

    from rm_monitor.cli import app

    write("run/global_step_10/actor/huggingface").joinpath("model.safetensors").unlink()
    config = tmp_path / "monitor.yaml"
    settings = {
        "reward_model": str(tiny_reward_model_dir),
        "prompts": str(tmp_path / "p.jsonl"),
        "references": "r",
    }
    Path(settings["prompts"]).write_text('{"prompt": "Hi", "r": "Hello"}\n{"prompt": "Ho", "r": "Hey"}\n')
    config.write_text(yaml.safe_dump(settings | {"report_to": "none"}))
    done = CliRunner().invoke(app, ["sweep", str(tmp_path / "run"), "--config", str(config), "--json"])
    assert done.exit_code == 2
    said = json.loads(next(line for line in done.stdout.splitlines() if line.startswith("{")))
    assert said["unanswered"] is True
    assert list(said["left_out"]) == ["10"]
    assert "checkpoints were found, and none could be judged" in done.output + done.stderr
