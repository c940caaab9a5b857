"""The best is what people get: a model folder that loads, a card that says how it came about, a push."""

import json
from types import SimpleNamespace

import pytest
import torch
from huggingface_hub import ModelCard
from huggingface_hub.repocard_data import eval_results_to_model_index, model_index_to_eval_results
from transformers import AutoModelForCausalLM, AutoTokenizer
from typer.testing import CliRunner

from rm_monitor import RewardMonitor, Sampling
from rm_monitor.cli import app
from rm_monitor.errors import NotFoundError
from rm_monitor.report.model_card import PICTURE, write_card
from rm_monitor.runs import load_run
from rm_monitor.runs.export import export, push

SECRET = "zebra"  # in each prompt: a card shows none of them


def trained(folder, policy, tokenizer):
    """A run of three points whose best is step 10, and its last model beside."""
    rewards = {0: 0.0, 10: 2.0, 20: 1.0}
    now = {"step": 0}
    monitor = RewardMonitor(
        lambda prompts, completions: [rewards[now["step"]] + len(c) * 1e-3 for c in completions],
        [f"{SECRET} {i}" for i in range(8)],
        every=10,
        metric="reward",
        output_dir=folder,
        sampling=Sampling(max_new_tokens=2),
        report_to="none",
    )
    for step in (0, 10, 20):
        now["step"] = step
        if step:
            with torch.no_grad():
                for weight in (p for p in policy.parameters() if p.requires_grad):
                    weight.add_(0.01 * step)

        def save(to):
            policy.save_pretrained(to)

        monitor.step(step, policy, tokenizer, save=save)
    monitor.close()
    policy.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return monitor


@pytest.fixture
def run(tmp_path, tiny_policy_dir, tiny_tokenizer):
    policy = AutoModelForCausalLM.from_pretrained(tiny_policy_dir)
    monitor = trained(tmp_path / "out", policy, tiny_tokenizer)
    assert monitor.best.step == 10
    return tmp_path / "out"


def test_the_end_of_a_run_says_what_lies_there_and_how_to_take_the_best(
    tmp_path, tiny_policy_dir, tiny_tokenizer, capsys
):
    trained(tmp_path / "out", AutoModelForCausalLM.from_pretrained(tiny_policy_dir), tiny_tokenizer)
    said = " ".join(capsys.readouterr().out.split())
    out = tmp_path / "out"
    assert (
        f"What training leaves in {out} is step 20, not the best: rm-monitor best {out} --export DIR" in said
    )


def test_a_full_checkpoint_is_exported_with_tokenizer_and_card_and_loads(run, tmp_path):
    to = export(run, tmp_path / "best")
    judged = AutoModelForCausalLM.from_pretrained(run / "_rm_monitor" / "best")
    loaded = AutoModelForCausalLM.from_pretrained(to)
    assert all(a.equal(b) for a, b in zip(loaded.parameters(), judged.parameters(), strict=True))
    assert AutoTokenizer.from_pretrained(to).chat_template == AutoTokenizer.from_pretrained(run).chat_template
    assert (to / "README.md").is_file()
    assert not [p for p in to.iterdir() if p.is_symlink()]


@pytest.mark.parametrize("merge", [True, False])
def test_an_adapter_is_exported_merged_or_as_it_is(tmp_path, tiny_policy_dir, tiny_tokenizer, merge):
    from peft import AutoPeftModelForCausalLM, LoraConfig, get_peft_model

    base = AutoModelForCausalLM.from_pretrained(tiny_policy_dir)
    policy = get_peft_model(base, LoraConfig(task_type="CAUSAL_LM", r=2))
    trained(tmp_path / "out", policy, tiny_tokenizer)
    to = export(tmp_path / "out", tmp_path / "best", merge=merge)
    assert (to / "adapter_config.json").is_file() is not merge
    judged = AutoPeftModelForCausalLM.from_pretrained(tmp_path / "out" / "_rm_monitor" / "best")
    kind = AutoModelForCausalLM if merge else AutoPeftModelForCausalLM
    ids = tiny_tokenizer("a tide", return_tensors="pt").input_ids
    with torch.no_grad():
        ours, theirs = kind.from_pretrained(to)(ids).logits, judged(ids).logits
    assert torch.allclose(ours, theirs, atol=1e-4)
    AutoTokenizer.from_pretrained(to)


def test_a_folder_that_holds_something_and_a_run_without_a_best_are_refused(run, tmp_path):
    with pytest.raises(ValueError, match="`to` must be a new folder"):
        export(run, run)
    with pytest.raises(NotFoundError, match="no best checkpoint is kept"):
        export(tmp_path / "nothing", tmp_path / "to")


def test_a_card_keeps_what_it_says_and_gains_one_section_however_often_it_is_written(run):
    before = (
        "---\nlibrary_name: transformers\ntags:\n- sft\nmodel-index:\n- name: theirs\n  results:\n"
        "  - task:\n      type: text-generation\n    dataset:\n      name: GSM8K\n      type: gsm8k\n"
        "    metrics:\n    - type: accuracy\n      value: 0.5\n---\n\n# Theirs\n\nTheir words.\n"
    )
    (run / "README.md").write_text(before)
    write_card(load_run(run).view(), run)
    once = (run / "README.md").read_text()
    write_card(load_run(run).view(), run)
    assert (run / "README.md").read_text() == once
    card = ModelCard.load(run / "README.md")
    assert card.text.strip().startswith("# Theirs\n\nTheir words.\n")
    assert card.text.count("## How the training went") == 1
    assert card.data.library_name == "transformers"
    assert card.data.tags == ["sft"]
    results = {r.metric_type: r for r in card.data.eval_results}
    assert results["accuracy"].metric_value == 0.5
    assert results["reward"].metric_args["step"] == 10
    assert f"]({PICTURE})" in card.text
    assert (run / PICTURE).read_text().startswith("<svg")


def test_a_card_is_valid_by_the_hubs_own_classes_and_shows_no_prompt(run, tmp_path):
    to = export(run, tmp_path / "best")
    text = (to / "README.md").read_text()
    assert SECRET not in text + (to / PICTURE).read_text()
    card = ModelCard.load(to / "README.md")
    index = eval_results_to_model_index(card.data.model_name, card.data.eval_results)
    name, results = model_index_to_eval_results(index)
    assert (name, results) == (card.data.model_name, card.data.eval_results)
    assert json.dumps(index)


def test_a_push_makes_the_repository_and_the_branch_and_says_where(run, tmp_path, monkeypatch):
    calls = []

    class Hub:
        def __getattr__(self, name):
            def call(*args, **keywords):
                calls.append((name, args, keywords))
                return SimpleNamespace(commit_url="https://hub/commit/1")

            return call

    monkeypatch.setattr("huggingface_hub.HfApi", Hub)
    done = CliRunner().invoke(app, ["best", str(run), "--push", "me/model@best", "--private"])
    assert done.stdout.strip() == "https://hub/commit/1"
    assert [name for name, _, _ in calls] == ["create_repo", "create_branch", "upload_folder"]
    assert calls[2][2]["revision"] == "best"
    assert calls[0][2]["private"] is True
    calls.clear()
    push(run, "me/model")
    assert [name for name, _, _ in calls] == ["create_repo", "upload_folder"]


def test_the_command_line_exports_and_names_the_folder(run, tmp_path):
    to = tmp_path / "to"
    done = CliRunner().invoke(app, ["best", str(run), "--export", str(to), "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["path"] == str(to)
    done = CliRunner().invoke(app, ["best", str(run), "--card", str(run)])
    assert (run / "README.md").is_file()
    assert done.stdout.strip().endswith("best")


def test_the_card_that_the_trainer_pushes_says_how_the_training_went(
    tmp_path, tiny_policy, tiny_tokenizer, monkeypatch
):
    from rm_monitor import RewardMonitorCallback
    from tests.helpers import tiny_trainer

    pushed = []

    class Hub:
        def create_repo(self, *args, **keywords):
            return SimpleNamespace(repo_id="me/out")

        def upload_folder(self, *, folder_path, **keywords):
            pushed.append((folder_path, ModelCard.load(f"{folder_path}/README.md")))

    monkeypatch.setattr("transformers.trainer.hf_api", Hub)
    monitor = RewardMonitor(
        lambda prompts, completions: [float(len(c)) for c in completions],
        [f"{SECRET} {i}" for i in range(8)],
        references=["a"] * 8,
        every=2,
        sampling=Sampling(max_new_tokens=2),
    )
    trainer = tiny_trainer(
        tiny_policy, tiny_tokenizer, tmp_path / "out", steps=4, callbacks=[RewardMonitorCallback(monitor)]
    )
    trainer.hub_model_id = "me/out"
    trainer.train()
    for _ in range(2):
        trainer.push_to_hub()
    assert "create_model_card" not in vars(trainer)
    for _, card in pushed:
        assert card.text.count("## How the training went") == 1
        assert "generated automatically" in str(card)  # the rest is the Trainer's own
        assert {r.metric_type for r in card.data.eval_results} >= {"win_rate", "reward"}
        assert SECRET not in str(card)
    assert (tmp_path / "out" / PICTURE).is_file()
    assert not PICTURE.startswith("_")  # the Trainer's push leaves those out
