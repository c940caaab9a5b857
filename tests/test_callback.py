"""The callback in the real Trainer: when it judges, what the Trainer sees, what lies on disk."""

import json
import math
from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM, EarlyStoppingCallback, TrainerCallback

from rm_monitor import RewardMonitor, RewardMonitorCallback
from tests.helpers import PROMPTS, Breaks, CountsGood, Says, tiny_trainer

REFERENCES = [f"{p} " + "good " * 5 for p in PROMPTS]


class FollowsStep(TrainerCallback):
    """Tells the scripted generator which step it is; added before the monitor."""

    def __init__(self, says):
        self.says = says

    def on_step_end(self, args, state, control, **kwargs):
        self.says.step = state.global_step


def monitored(
    tmp_path,
    tiny_policy,
    tiny_tokenizer,
    quality,
    *,
    monitor_options=None,
    callback_options=None,
    callbacks=(),
    **arguments,
):
    says = Says(quality)
    options = dict(references=REFERENCES, generator=says, every=2, report_to="none", on_error="raise")
    options.update(monitor_options or {})
    monitor = RewardMonitor(options.pop("reward_model", None) or CountsGood(), PROMPTS, **options)
    callback = RewardMonitorCallback(monitor, **(callback_options or {}))
    before, after = (
        (callbacks, ()) if not isinstance(callbacks, dict) else (callbacks["before"], callbacks["after"])
    )
    trainer = tiny_trainer(
        tiny_policy,
        tiny_tokenizer,
        tmp_path,
        callbacks=[FollowsStep(says), *before, callback, *after],
        **arguments,
    )
    return trainer, monitor


def peak_at(best):
    return lambda step: 0.9 - 0.1 * abs(step - best)


def test_without_any_eval_dataset_the_best_checkpoint_is_saved_marked_and_loadable(
    tmp_path, tiny_policy, tiny_tokenizer
):
    trainer, monitor = monitored(tmp_path, tiny_policy, tiny_tokenizer, peak_at(4))
    trainer.train()
    assert monitor.best.step == 4
    assert trainer.state.best_global_step == 4
    assert Path(trainer.state.best_model_checkpoint).is_dir()
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "_rm_monitor" / "best")
    assert loaded.config.vocab_size == tiny_policy.config.vocab_size
    assert json.loads((tmp_path / "_rm_monitor" / "best.json").read_text())["step"] == 4


def test_save_strategy_best_without_eval_loads_our_best_at_the_end(tmp_path, tiny_policy, tiny_tokenizer):
    trainer, monitor = monitored(
        tmp_path,
        tiny_policy,
        tiny_tokenizer,
        peak_at(4),
        save_strategy="best",
        eval_strategy="no",
        load_best_model_at_end=True,
        metric_for_best_model="rm_win_prob",
    )
    trainer.train()
    assert monitor.best.step == 4
    saved = AutoModelForCausalLM.from_pretrained(tmp_path / "_rm_monitor" / "best").state_dict()
    for name, weight in trainer.model.state_dict().items():
        assert weight.equal(saved[name]), name


@pytest.mark.parametrize("strategy", ["steps", "best"])
def test_metric_for_best_model_chooses_our_best_with_an_eval_loop(
    tmp_path, tiny_policy, tiny_tokenizer, strategy
):
    trainer, monitor = monitored(
        tmp_path,
        tiny_policy,
        tiny_tokenizer,
        peak_at(4),
        monitor_options={"every": None} if strategy == "steps" else {"every": 2},
        save_strategy=strategy,
        save_steps=2,
        eval_strategy="steps",
        eval_steps=2,
        save_total_limit=2,
        load_best_model_at_end=True,
        metric_for_best_model="rm_win_prob",
    )
    trainer.train()
    assert monitor.best.step == trainer.state.best_global_step == 4
    assert trainer.state.best_model_checkpoint.endswith("checkpoint-4")


@pytest.mark.parametrize("position", ["before", "after"])
def test_early_stopping_sees_our_metric(tmp_path, tiny_policy, tiny_tokenizer, position):
    stopping = {"before": (), "after": ()} | {position: (EarlyStoppingCallback(early_stopping_patience=2),)}
    trainer, monitor = monitored(
        tmp_path,
        tiny_policy,
        tiny_tokenizer,
        peak_at(4),
        monitor_options={"every": None},
        callbacks=stopping,
        steps=20,
        save_strategy="steps",
        save_steps=2,
        eval_strategy="steps",
        eval_steps=2,
        load_best_model_at_end=True,
        metric_for_best_model="rm_win_prob",
    )
    trainer.train()
    assert monitor.best.step == 4
    assert trainer.state.global_step == 8


def test_a_metric_of_the_users_own_is_left_alone_and_said_so(tmp_path, tiny_policy, tiny_tokenizer, caplog):
    trainer, monitor = monitored(
        tmp_path,
        tiny_policy,
        tiny_tokenizer,
        peak_at(4),
        monitor_options={"every": None},
        save_strategy="steps",
        save_steps=2,
        eval_strategy="steps",
        eval_steps=2,
        metric_for_best_model="loss",
        load_best_model_at_end=True,
    )
    trainer.train()
    losses = {h["step"]: h["eval_loss"] for h in trainer.state.log_history if "eval_loss" in h}
    assert trainer.state.best_metric == min(losses.values())
    assert losses[trainer.state.best_global_step] == min(losses.values())
    assert monitor.best.step == 4
    assert "left alone" in caplog.text


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_the_best_survives_rotation_at_every_limit(tmp_path, tiny_policy, tiny_tokenizer, limit):
    trainer, monitor = monitored(
        tmp_path,
        tiny_policy,
        tiny_tokenizer,
        peak_at(2),
        monitor_options={"every": None},
        steps=12,
        save_strategy="steps",
        save_steps=2,
        save_total_limit=limit,
    )
    trainer.train()
    assert monitor.best.step == 2
    AutoModelForCausalLM.from_pretrained(tmp_path / "_rm_monitor" / "best")


def test_a_best_between_two_saves_is_saved_too(tmp_path, tiny_policy, tiny_tokenizer):
    trainer, monitor = monitored(
        tmp_path, tiny_policy, tiny_tokenizer, peak_at(6), save_strategy="steps", save_steps=4
    )
    trainer.train()
    assert monitor.best.step == 6
    assert (tmp_path / "checkpoint-6").is_dir()


def test_a_dict_of_eval_sets_gives_one_evaluation_a_step(tmp_path, tiny_policy, tiny_tokenizer):
    trainer, monitor = monitored(
        tmp_path,
        tiny_policy,
        tiny_tokenizer,
        peak_at(4),
        monitor_options={"every": None},
        eval_strategy="steps",
        eval_steps=2,
    )
    trainer.eval_dataset = {"a": trainer.eval_dataset, "b": trainer.eval_dataset}
    trainer.train()
    assert [p.step for p in monitor.curve] == [0, 2, 4, 6, 8]
    assert monitor._parts.evaluator.generator.calls == 5


def test_epoch_strategies_are_followed(tmp_path, tiny_policy, tiny_tokenizer):
    trainer, monitor = monitored(
        tmp_path,
        tiny_policy,
        tiny_tokenizer,
        peak_at(4),
        monitor_options={"every": None},
        steps=-1,
        n_rows=4,
        num_train_epochs=3,
        save_strategy="epoch",
        eval_strategy="epoch",
        load_best_model_at_end=True,
        metric_for_best_model="rm_win_rate",
    )
    trainer.train()
    assert [p.step for p in monitor.curve] == [0, 2, 4, 6]


def test_a_failed_evaluation_never_stops_training_and_is_no_number_to_the_trainer(
    tmp_path, tiny_policy, tiny_tokenizer
):
    scorer = Breaks()

    class BreaksAt4(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            scorer.broken = state.global_step == 4

    trainer, monitor = monitored(
        tmp_path,
        tiny_policy,
        tiny_tokenizer,
        peak_at(4),
        monitor_options={"every": None, "reward_model": scorer, "on_error": "warn"},
        callbacks={"before": (BreaksAt4(),), "after": ()},
        save_strategy="steps",
        save_steps=2,
        eval_strategy="steps",
        eval_steps=2,
        load_best_model_at_end=True,
        metric_for_best_model="rm_win_prob",
    )
    trainer.train()
    assert trainer.state.global_step == 8
    assert [p.status for p in monitor.curve] == ["ok", "ok", "failed", "ok", "ok"]
    assert trainer.state.best_global_step in (2, 6)
    assert math.isfinite(trainer.state.best_metric)


def test_the_training_loss_is_logged_as_without_us(tmp_path, tiny_policy_dir, tiny_tokenizer):
    logged = []
    for name in ("with", "without"):
        policy = AutoModelForCausalLM.from_pretrained(tiny_policy_dir)
        if name == "with":
            trainer, _ = monitored(tmp_path / name, policy, tiny_tokenizer, peak_at(4))
        else:
            trainer = tiny_trainer(policy, tiny_tokenizer, tmp_path / name)
        trainer.train()
        logged.append([(h["step"], h["loss"]) for h in trainer.state.log_history if "loss" in h])
    assert logged[0] == logged[1]
    assert [step for step, _ in logged[0]] == [2, 4, 6, 8]


def test_the_trainer_state_on_disk_is_strict_json_with_our_numbers(tmp_path, tiny_policy, tiny_tokenizer):
    trainer, _ = monitored(tmp_path, tiny_policy, tiny_tokenizer, peak_at(4))
    trainer.train()
    text = (tmp_path / "checkpoint-4" / "trainer_state.json").read_text()

    def refuse(constant):
        raise AssertionError(constant)

    state = json.loads(text, parse_constant=refuse)
    assert any("rm_monitor/win_prob" in row for row in state["log_history"])
    assert state["best_global_step"] == 4


def test_stop_on_degradation_stops_after_two_alarms_in_a_row(tmp_path, tiny_policy, tiny_tokenizer):
    trainer, monitor = monitored(
        tmp_path,
        tiny_policy,
        tiny_tokenizer,
        lambda step: 0.8 if step <= 6 else 0.1,
        callback_options={"stop_on_degradation": True},
        steps=30,
    )
    trainer.train()
    assert monitor.verdict.state == "degraded"
    assert trainer.state.global_step < 20


def test_nothing_of_ours_is_written_into_a_checkpoint(tmp_path, tiny_policy, tiny_tokenizer):
    trainer, _ = monitored(tmp_path, tiny_policy, tiny_tokenizer, peak_at(4))
    trainer.train()
    plain = tiny_trainer(
        tiny_policy, tiny_tokenizer, tmp_path / "plain", steps=2, save_strategy="steps", save_steps=2
    )
    plain.train()
    ours = {p.name for p in (tmp_path / "checkpoint-4").iterdir()}
    assert ours == {p.name for p in (tmp_path / "plain" / "checkpoint-2").iterdir()}


def test_a_bad_option_is_refused():
    with pytest.raises(ValueError, match=r"`select_best` is .* 'auto', True, False, got 'always'"):
        RewardMonitorCallback(None, select_best="always")
