"""The training reward: read from the trainer's own logs, and held against what the judge sees."""

import math

import numpy as np
import pytest

from rm_monitor import RewardMonitor, RewardMonitorCallback, Sampling, messages
from rm_monitor.verdict.signals.same_model import model_names, same_model
from rm_monitor.verdict.signals.training_reward import TrainingRewards, rise
from tests.helpers import PROMPTS, CountsGood, Keeps, Says


def test_the_trend_test_is_kendalls():
    """By hand, and against scipy's p-value."""
    from scipy.stats import kendalltau

    x = [0.1, 0.4, 0.2, 0.5, 0.9, 0.7, 1.2, 1.0]
    later = sum(b > a for i, a in enumerate(x) for b in x[i + 1 :])
    found = rise(x)
    assert found.order == pytest.approx(later / 28)
    assert found.before == pytest.approx(0.25)
    assert found.now == pytest.approx(1.1)
    exact = kendalltau(range(8), x, alternative="greater").pvalue
    assert found.p == pytest.approx(exact, abs=0.005)


def test_a_trendless_log_rises_by_chance_one_time_in_twenty():
    rng = np.random.default_rng(0)
    said = [rise(rng.normal(size=20)).p <= 0.05 for _ in range(2000)]
    assert 0.03 < np.mean(said) < 0.06


def test_ties_count_half_and_four_logs_are_too_few():
    assert rise([1.0] * 9).order == 0.5
    assert rise([1.0] * 9).p == 1.0
    assert rise([1.0, 2.0, 3.0, 4.0]) is None


def test_the_plainest_key_is_read_and_nan_is_not():
    rewards = TrainingRewards()
    rewards.note(1, {"rewards/margins": 0.1, "loss": 2.0})
    assert rewards.key == "rewards/margins"
    rewards.note(2, {"reward": 0.5, "rewards/margins": 0.2})
    rewards.note(3, {"reward": math.nan})
    rewards.note(4, {"reward": None})
    assert rewards.key == "reward"
    assert rewards.between(0, 9) == [0.5]


def test_the_names_that_trl_logs_give_the_reward_model_away():
    class Arguments:
        reward_model_path = "org/other"

    logs = ["reward", "rewards/my-model/mean", "rewards/my-model/std", "rewards/margins"]
    assert model_names(logs, Arguments()) == ["my-model", "org/other"]


def test_the_same_folder_by_another_path_and_a_copy_of_the_weights_are_recognised(
    tmp_path, tiny_reward_model_dir, tiny_policy_dir
):
    import shutil

    from rm_monitor import load_scorer

    scorer = load_scorer(str(tiny_reward_model_dir))
    link = tmp_path / "link"
    link.symlink_to(tiny_reward_model_dir)
    copy = shutil.copytree(tiny_reward_model_dir, tmp_path / "copy")
    source = str(tiny_reward_model_dir)
    assert "same folder" in same_model(source, scorer, link)
    assert "same weights" in same_model(source, scorer, str(copy))
    assert "same fingerprint" in same_model(source, scorer, scorer.fingerprint)
    assert same_model(source, scorer, scorer) == "the same object"
    assert same_model(source, scorer, str(tiny_policy_dir)) is None
    assert same_model(source, scorer, "org/never-heard-of") is None


def test_a_model_in_memory_is_recognised_by_where_it_was_loaded_from(tiny_reward_model_dir):
    from transformers import AutoModelForSequenceClassification

    training = AutoModelForSequenceClassification.from_pretrained(tiny_reward_model_dir)
    assert "same folder" in same_model(str(tiny_reward_model_dir), CountsGood(), training)


def run(tmp_path, quality, logged, **more):
    """Twelve evaluations of a scripted policy beside a log of training rewards."""
    keeps, says = Keeps(), Says(quality)
    monitor = RewardMonitor(
        CountsGood(), PROMPTS, references=["good " * 5] * 64, every=10, output_dir=tmp_path,
        report_to=[keeps], generator=says, alarm={"horizon": 12, **more},
    )  # fmt: skip
    for step in range(120):
        if step % 2 == 0:
            monitor.note(step, {"loss": 1.0, "reward": logged(step)})
        if step % 10 == 0:
            says.step = step
            monitor.evaluate(step=step)
    monitor.close()
    return monitor, keeps


def down(step):
    return 0.3 + min(step, 50) / 200 - max(step - 50, 0) / 100


def test_a_training_reward_that_rises_while_the_judge_falls_is_flagged_with_its_evidence(tmp_path):
    monitor, keeps = run(tmp_path, down, lambda step: step / 100)
    assert monitor.verdict.state == "degraded"
    assert "training_reward" in monitor.verdict.flags
    (found,) = [s for s in monitor.verdict.signals if s.name == "training_reward"]
    assert found.about == "reward"
    assert found.order == 1.0
    said = messages.note(found)
    assert f"({found.n} logs" in said
    assert "100 times in 100" in said
    assert keeps.updates[-1].point.measured["training_reward"] == pytest.approx(1.06, abs=0.03)


def test_a_training_reward_that_falls_with_the_judge_is_not_flagged(tmp_path):
    monitor, _ = run(tmp_path, down, lambda step: -step / 100)
    assert monitor.verdict.state == "degraded"
    assert "training_reward" not in monitor.verdict.flags


def test_a_training_reward_that_rises_with_the_judge_is_not_flagged(tmp_path):
    monitor, _ = run(tmp_path, lambda step: 0.3 + step / 200, lambda step: step / 100)
    assert monitor.verdict.state in ("improving", "steady")
    assert "training_reward" not in monitor.verdict.flags


def test_a_judge_that_is_the_training_reward_is_said_at_the_start(tmp_path, capsys):
    judge = CountsGood()
    monitor = RewardMonitor(
        judge,
        PROMPTS,
        references=["x"] * 64,
        output_dir=tmp_path,
        report_to="none",
        alarm={"training_reward": judge},
    )
    monitor.begin()
    printed = capsys.readouterr().out
    assert "also the training reward (the same object)" in printed
    monitor.close()


@pytest.mark.filterwarnings("ignore")
def test_in_a_real_grpo_run_the_reward_is_read_and_the_same_model_is_found_out(
    tmp_path, tiny_policy, tiny_tokenizer, tiny_reward_model_dir, capsys
):
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    monitor = RewardMonitor(
        str(tiny_reward_model_dir),
        ["Hi", "Bye"],
        references=["Hello", "Bye"],
        every=2,
        report_to="none",
        sampling=Sampling(max_new_tokens=4),
    )
    trainer = GRPOTrainer(
        model=tiny_policy,
        reward_funcs=str(tiny_reward_model_dir),
        args=GRPOConfig(
            output_dir=str(tmp_path),
            max_steps=2,
            per_device_train_batch_size=2,
            num_generations=2,
            max_completion_length=4,
            logging_steps=1,
            report_to=[],
            use_cpu=True,
            disable_tqdm=True,
            save_strategy="no",
            bf16=False,
            gradient_checkpointing=False,
        ),
        train_dataset=Dataset.from_dict({"prompt": ["a", "b", "c", "d"]}),
        processing_class=tiny_tokenizer,
        callbacks=[RewardMonitorCallback(monitor)],
    )
    trainer.train()
    logged = [log["reward"] for log in trainer.state.log_history if "reward" in log]
    assert len(logged) == 2
    assert monitor.run._diagnostics._rewards.key == "reward"
    assert monitor.run._diagnostics._rewards.between(0, 9) == pytest.approx(logged)
    assert f"also the training reward (the same name {tiny_reward_model_dir.name})" in capsys.readouterr().out
