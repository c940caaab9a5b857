"""Lives that are not one straight `train()`: each has its own curve and best, and takes nobody else's."""

import json
import logging
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import EarlyStoppingCallback, LlamaForSequenceClassification, Trainer, TrainerCallback

from rm_monitor import Completion, RewardMonitor, RewardMonitorCallback
from rm_monitor.checkpoints.keeper import Keeper
from rm_monitor.errors import FirstEvaluationError
from rm_monitor.testing.tiny import make_policy, tiny_config
from tests.helpers import Breaks, CountsGood, Says, rows, tiny_trainer

ASKED = [f"prompt {i}" for i in range(16)]
OFTEN = {"save_strategy": "steps", "save_steps": 2, "eval_strategy": "steps", "eval_steps": 2}


def peak_at(best):
    return lambda step: 0.9 - 0.1 * abs(step - best)


class Follows(TrainerCallback):
    """Lets the scripted policy know where training is."""

    def __init__(self, says):
        self.says = says

    def on_train_begin(self, args, state, control, **kwargs):
        self.says.step = state.global_step

    def on_step_end(self, args, state, control, **kwargs):
        self.says.step = state.global_step


class Raises(TrainerCallback):
    """Ends a training once, at the beginning of a step."""

    def __init__(self, step, error):
        self.step, self.error = step, error

    def on_step_begin(self, args, state, control, **kwargs):
        if state.global_step == self.step and self.error is not None:
            error, self.error = self.error, None
            raise error


class BreaksAt(TrainerCallback):
    """Lets a judge fail at one step."""

    def __init__(self, step, judge):
        self.step, self.judge = step, judge

    def on_step_end(self, args, state, control, **kwargs):
        self.judge.broken = state.global_step == self.step


class Steady(Says):
    """Prompts differ, steps only by their quality: a rise is a rise in every prompt."""

    def generate(self, prompts, sampling, **more):
        self.calls += 1
        words = [round(10 * self.quality(self.step) + i % 3) for i in range(len(prompts))]
        return [
            Completion(prompt_id=p.id, text="x " + "good " * max(0, n), n_tokens=n + 2, finish_reason="stop")
            for p, n in zip(prompts, words, strict=True)
        ]


def watching(quality, reward_model=None, **more):
    settings = {"references": ["good " * 5] * len(ASKED), "every": 2, "report_to": "none", **more}
    return RewardMonitor(reward_model or CountsGood(), ASKED, generator=Steady(quality), **settings)


def training(folder, monitor, tokenizer, *, callbacks=(), more=(), **arguments):
    """A tiny Trainer with the monitor's callback between others."""
    model = arguments.pop("model", None) or make_policy(tokenizer, 0)
    says = monitor.settings.generator
    around = [Follows(says), *callbacks, RewardMonitorCallback(monitor), *more]
    return tiny_trainer(model, tokenizer, folder, callbacks=around, **arguments)


def steps(monitor):
    return [point.step for point in monitor.curve]


def weights(folder):
    return load_file(Path(folder) / "model.safetensors")


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


# ---------------------------------------------------------------------------- a training that breaks off


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError("a bad batch")])
def test_what_a_dead_attempt_judged_is_not_on_the_next_ones_curve(tmp_path, tiny_tokenizer, error):
    monitor = watching(lambda step: 0.2 + 0.1 * step)
    trainer = training(tmp_path, monitor, tiny_tokenizer, callbacks=[Raises(7, error)], steps=8, **OFTEN)
    with pytest.raises(type(error)):
        trainer.train()
    assert steps(monitor) == [0, 2, 4, 6]
    dead = weights(monitor.best.checkpoint)
    trainer.args.max_steps = 4
    monitor.settings.generator.quality = lambda step: 0.1 + 0.1 * step
    trainer.train()
    assert steps(monitor) == [0, 2, 4]
    assert monitor.best.step == 4
    assert not same(weights(monitor.best.checkpoint), dead)
    kept = Keeper(tmp_path / "_rm_monitor" / "earlier" / "attempt-0").best()
    assert kept[0] == 6
    assert same(weights(kept[1]), dead)


def test_a_restart_with_a_smaller_batch_is_an_attempt_of_its_own(tmp_path, tiny_tokenizer):
    monitor = watching(lambda step: 0.3 + 0.05 * step)
    full = RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
    trainer = training(
        tmp_path,
        monitor,
        tiny_tokenizer,
        callbacks=[Raises(3, full)],
        steps=4,
        auto_find_batch_size=True,
        save_strategy="steps",
        save_steps=2,
    )
    trainer.train()
    assert steps(monitor) == [0, 2, 4]
    assert {p.attempt for p in monitor.curve} == {1}
    assert monitor.best.step == 4


# ---------------------------------------------------------------------------- several trainings


def test_a_second_training_sets_the_first_ones_best_aside(tmp_path, tiny_tokenizer, capsys):
    monitor = watching(peak_at(4))
    trainer = training(tmp_path, monitor, tiny_tokenizer, steps=8, save_total_limit=1, **OFTEN)
    trainer.train()
    assert monitor.best.step == 4
    first = weights(monitor.best.checkpoint)
    monitor.settings.generator.quality = lambda step: 0.01 * step
    capsys.readouterr()
    trainer.train()
    assert steps(monitor) == [0, 2, 4, 6, 8]
    assert "this folder holds an earlier run" in capsys.readouterr().out
    kept = Keeper(tmp_path / "_rm_monitor" / "earlier" / "attempt-0").best()
    assert kept[0] == 4
    assert same(weights(kept[1]), first)


def test_a_second_trainer_has_a_folder_of_its_own(tmp_path, tiny_tokenizer):
    monitor = watching(peak_at(4))
    training(tmp_path / "sft", monitor, tiny_tokenizer, steps=4, **OFTEN).train()
    before = (tmp_path / "sft" / "_rm_monitor" / "history.jsonl").read_bytes()
    training(tmp_path / "dpo", monitor, tiny_tokenizer, steps=2, **OFTEN).train()
    assert steps(monitor) == [0, 2]
    assert (tmp_path / "sft" / "_rm_monitor" / "history.jsonl").read_bytes() == before
    assert Keeper(tmp_path / "sft" / "_rm_monitor").best()[0] == 4
    assert Path(monitor.best.checkpoint).is_relative_to(tmp_path / "dpo")


def test_two_monitors_on_one_trainer_need_names_and_then_have_all_of_their_own(tmp_path, tiny_tokenizer):
    maths, chat = watching(peak_at(4)), watching(peak_at(2))
    with pytest.raises(ValueError, match=r"two monitors on one trainer .* give each a name"):
        training(tmp_path, maths, tiny_tokenizer, more=[RewardMonitorCallback(chat)], steps=2).train()
    maths, chat = watching(peak_at(4), name="maths"), watching(peak_at(2), name="chat")
    trainer = training(
        tmp_path,
        maths,
        tiny_tokenizer,
        more=[Follows(chat.settings.generator), RewardMonitorCallback(chat, select_best=False)],
        steps=6,
        **OFTEN,
    )
    trainer.train()
    assert (maths.best.step, chat.best.step) == (4, 2)
    said = trainer.evaluate()
    for monitor, name in ((maths, "maths"), (chat, "chat")):
        assert Path(monitor.best.checkpoint).is_relative_to(tmp_path / f"_rm_monitor-{name}")
        assert said[f"eval_rm_{name}_win_prob"] == monitor.curve[-1].metrics["win_prob"].value


def test_trials_of_a_search_have_each_its_folder_and_the_objective_is_as_without_us(tmp_path, tiny_tokenizer):
    optuna = pytest.importorskip("optuna")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    found = {}
    for name in ("without", "with"):
        monitor = watching(peak_at(4))
        trainer = training(tmp_path / name, monitor, tiny_tokenizer, steps=4, **OFTEN)
        trainer.model_init = lambda trial=None: make_policy(tiny_tokenizer, 0)
        if name == "without":
            trainer.remove_callback(RewardMonitorCallback)
        found[name] = trainer.hyperparameter_search(
            direction="minimize",
            backend="optuna",
            n_trials=2,
            hp_space=lambda trial: {"learning_rate": trial.suggest_float("learning_rate", 1e-3, 1e-3)},
        ).objective
        if name == "with":
            for trial in ("run-0", "run-1"):
                assert Keeper(tmp_path / name / trial / "_rm_monitor").best()[0] == 4
            assert not (tmp_path / name / "_rm_monitor").exists()
    assert found["with"] == found["without"]


# ---------------------------------------------------------------------------- evaluate() outside train()


def test_an_evaluation_before_training_has_numbers_and_writes_nothing(tmp_path, tiny_tokenizer):
    monitor = watching(peak_at(4))
    trainer = training(
        tmp_path, monitor, tiny_tokenizer, steps=2, metric_for_best_model="rm_win_prob", **OFTEN
    )
    assert 0 <= trainer.evaluate()["eval_rm_win_prob"] <= 1
    assert not (tmp_path / "_rm_monitor").exists()
    trainer.train()
    assert steps(monitor) == [0, 2]


def test_an_evaluation_after_the_best_was_loaded_has_the_bests_numbers(tmp_path, tiny_tokenizer):
    monitor = watching(peak_at(4))
    trainer = training(
        tmp_path,
        monitor,
        tiny_tokenizer,
        steps=8,
        metric_for_best_model="rm_win_prob",
        load_best_model_at_end=True,
        **OFTEN,
    )
    trainer.train()
    said = trainer.evaluate()["eval_rm_win_prob"]
    assert said == monitor.best.value.value
    assert said > monitor.curve[-1].metrics["win_prob"].value
    assert steps(monitor) == [0, 2, 4, 6, 8]


def test_one_more_evaluation_after_the_end_wipes_nothing(tmp_path, tiny_tokenizer):
    monitor = watching(peak_at(4))
    trainer = training(tmp_path, monitor, tiny_tokenizer, steps=8, save_total_limit=2, **OFTEN)
    trainer.train()
    best = weights(monitor.best.checkpoint)
    monitor.settings.generator.quality = lambda step: 0.0
    monitor.evaluate(trainer.model, tiny_tokenizer, step=9, save=trainer.model.save_pretrained)
    assert steps(monitor) == [0, 2, 4, 6, 8, 9]
    assert monitor.best.step == 4
    assert same(weights(monitor.best.checkpoint), best)


# ---------------------------------------------------------------------------- other callbacks


def test_a_run_that_another_callback_ends_has_its_last_weights_judged(tmp_path, tiny_tokenizer):
    class Stops(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            control.should_training_stop = state.global_step >= 5

    for where in ("callbacks", "more"):
        monitor = watching(peak_at(4), every=4)
        training(tmp_path / where, monitor, tiny_tokenizer, **{where: [Stops()]}, steps=20).train()
        assert steps(monitor) == [0, 4, 5]


def test_a_checkpoint_that_a_later_callback_asks_for_is_judged(tmp_path, tiny_tokenizer):
    class Saves(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            control.should_save = control.should_save or state.global_step == 3

    monitor = watching(peak_at(3), every=None)
    training(
        tmp_path, monitor, tiny_tokenizer, more=[Saves()], steps=6, save_strategy="steps", save_steps=4
    ).train()
    assert steps(monitor) == [0, 3, 4, 6]
    assert monitor.best.step == 3


def test_weights_that_a_callback_changes_before_they_are_saved_are_judged_as_they_were_saved(
    tmp_path, tiny_tokenizer, caplog
):
    class Averages(TrainerCallback):
        def on_save(self, args, state, control, model=None, **kwargs):
            with torch.no_grad():
                for p in model.parameters():
                    p.mul_(0.5)
            model.save_pretrained(Path(args.output_dir) / f"checkpoint-{state.global_step}")

    monitor = watching(peak_at(2))
    with caplog.at_level(logging.WARNING):
        training(
            tmp_path,
            monitor,
            tiny_tokenizer,
            more=[Averages()],
            steps=2,
            save_strategy="steps",
            save_steps=2,
        ).train()
    assert "are not those that were judged" in caplog.text
    from transformers import AutoModelForCausalLM

    from rm_monitor.training.digest import fingerprint

    kept = AutoModelForCausalLM.from_pretrained(monitor.best.checkpoint)
    assert monitor.curve[-1].weights == fingerprint(kept, tiny_tokenizer)


@pytest.mark.parametrize("position", ["callbacks", "more"])
def test_a_failed_evaluation_counts_for_no_early_stopping(tmp_path, tiny_tokenizer, position):
    judge = Breaks()

    monitor = watching(lambda step: 0.02 + 0.07 * step, judge)
    trainer = training(
        tmp_path,
        monitor,
        tiny_tokenizer,
        **{"callbacks": [BreaksAt(4, judge)], position: [BreaksAt(4, judge), EarlyStoppingCallback(1)]},
        steps=12,
        metric_for_best_model="rm_win_prob",
        load_best_model_at_end=True,
        **OFTEN,
    )
    trainer.train()
    assert trainer.state.global_step == 12
    assert [p.status for p in monitor.curve] == ["ok", "ok", "failed", "ok", "ok", "ok", "ok"]


def test_a_failed_evaluation_cuts_no_learning_rate(tmp_path, tiny_tokenizer):
    judge = Breaks()

    monitor = watching(lambda step: 0.02 + 0.07 * step, judge)
    trainer = training(
        tmp_path,
        monitor,
        tiny_tokenizer,
        callbacks=[BreaksAt(4, judge)],
        steps=10,
        metric_for_best_model="rm_win_prob",
        greater_is_better=True,
        lr_scheduler_type="reduce_lr_on_plateau",
        lr_scheduler_kwargs={"mode": "max", "patience": 0, "factor": 0.1},
        **OFTEN,
    )
    trainer.train()
    rates = [h["learning_rate"] for h in trainer.state.log_history if "learning_rate" in h]
    assert set(rates) == {1e-3}
    json.dumps(trainer.state.log_history, allow_nan=False)


def test_only_what_was_asked_for_is_among_the_trainers_metrics(tmp_path, tiny_tokenizer):
    monitor = watching(peak_at(4))
    trainer = training(tmp_path, monitor, tiny_tokenizer, steps=2, **OFTEN)
    trainer.train()
    ours = {key for key in trainer.evaluate() if key.startswith("eval_rm_")}
    assert ours == {"eval_rm_win_prob", "eval_rm_win_rate", "eval_rm_degraded"}
    test = trainer.evaluate(rows(tiny_tokenizer, 4), metric_key_prefix="test")
    assert not {key for key in test if "rm_" in key}


# ---------------------------------------------------------------------------- refused before training


def wrong_number(prompts, completions):
    return 1.0


@pytest.mark.parametrize("baseline", [True, False])
def test_a_judge_that_never_works_is_refused_before_the_first_step(tmp_path, tiny_tokenizer, baseline):
    for on_error, fails in (("warn", True), ("start-anyway", False)):
        short = {"max_new_tokens": 4}
        monitor = RewardMonitor(
            wrong_number, ASKED, every=1, report_to="none", on_error=on_error, sampling=short
        )
        callback = RewardMonitorCallback(monitor, baseline=baseline)
        trainer = tiny_trainer(
            make_policy(tiny_tokenizer, 0), tiny_tokenizer, tmp_path / on_error, callbacks=[callback], steps=1
        )
        if fails:
            with pytest.raises(FirstEvaluationError, match=r"no curve would come .*start-anyway"):
                trainer.train()
            assert trainer.state.global_step == 0
        else:
            trainer.train()
            assert trainer.state.global_step == 1


def test_a_policy_that_cannot_answer_is_refused_with_the_way_out(tmp_path, tiny_tokenizer):
    classifier = LlamaForSequenceClassification(tiny_config(tiny_tokenizer, num_labels=1))
    for model, tokenizer, said in (
        (classifier, tiny_tokenizer, "cannot generate answers"),
        (make_policy(tiny_tokenizer, 0), None, "processing_class=tokenizer"),
    ):
        monitor = RewardMonitor(CountsGood(), ASKED, every=1, report_to="none")
        trainer = tiny_trainer(
            model, tokenizer, tmp_path, callbacks=[RewardMonitorCallback(monitor)], steps=1, train=Trainer
        )
        with pytest.raises(ValueError, match=said):
            trainer.train()


def test_a_folder_that_cannot_be_written_is_refused_at_the_start(tmp_path):
    (tmp_path / "file").write_text("")
    monitor = watching(peak_at(1), output_dir=tmp_path / "file")
    with pytest.raises(ValueError, match=r"`output_dir` .* cannot be written .* give another"):
        monitor.step(0)


def test_following_a_trainer_that_never_saves_is_said(tmp_path, tiny_tokenizer, caplog):
    monitor = watching(peak_at(1), every=None)
    with caplog.at_level(logging.WARNING):
        training(tmp_path, monitor, tiny_tokenizer, steps=2).train()
    assert "only the first and the last weights will be judged" in caplog.text
    assert steps(monitor) == [0, 2]


# ---------------------------------------------------------------------------- a hand-written loop


def loop(folder, at, quality, tokenizer):
    """README's loop in a process of its own."""
    monitor = watching(quality, every=1, output_dir=folder)
    model = make_policy(tokenizer, 0)
    for step in at:
        monitor.settings.generator.step = step
        monitor.step(step, model, tokenizer, save=model.save_pretrained)
    return monitor


def test_a_loop_that_is_started_again_goes_on_and_keeps_its_best(tmp_path, tiny_tokenizer, capsys):
    loop(tmp_path, range(5), lambda step: 0.3 + 0.1 * step, tiny_tokenizer)
    monitor = loop(tmp_path, range(5, 9), lambda step: 0.3, tiny_tokenizer)
    assert steps(monitor) == list(range(9))
    assert monitor.best.step == 4
    assert "goes on after step 4" in capsys.readouterr().out


def test_a_loop_that_begins_again_sets_the_best_aside(tmp_path, tiny_tokenizer):
    loop(tmp_path, range(5), lambda step: 0.3 + 0.1 * step, tiny_tokenizer)
    monitor = loop(tmp_path, range(2), lambda step: 0.3, tiny_tokenizer)
    assert steps(monitor) == [0, 1]
    assert Keeper(tmp_path / "_rm_monitor" / "earlier" / "attempt-0").best()[0] == 4
