"""The one stateful object: what it does by hand, without a Trainer and without torch models."""

import json
import math
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from rm_monitor import Completion, RewardMonitor, Sampling
from rm_monitor.checkpoints.disk import problem
from rm_monitor.errors import FirstEvaluationError
from tests.helpers import PROMPTS, Breaks, CountsGood, Fails, Keeps, Says


def make(tmp_path, *, quality=lambda step: 0.5, reward_model=None, **more):
    settings = dict(
        references=[f"{p} " + "good " * 5 for p in PROMPTS],
        every=10,
        output_dir=tmp_path,
        generator=Says(quality),
        report_to="none",
        alarm={"horizon": 11},
    )
    settings.update(more)
    return RewardMonitor(reward_model or CountsGood(), PROMPTS, **settings)


def run(monitor, steps, save=None):
    for step in steps:
        monitor._parts.evaluator.generator.step = step
        monitor.step(step, save=save)
    return monitor


def writes(folder):
    (folder / "config.json").write_text("{}")
    import numpy as np
    from safetensors.numpy import save_file

    save_file({"w": np.zeros(2, dtype=np.float32)}, folder / "model.safetensors")


def rises_then_falls(step):
    return 0.3 + 0.04 * step / 10 if step <= 50 else 0.05


def test_a_policy_that_answers_with_the_references_gets_exactly_one_half(tmp_path):
    monitor = make(tmp_path, references=None)
    point = monitor.step(0)
    assert point.status == "ok"
    assert point.metrics["win_prob"].value == 0.5
    assert point.metrics["win_rate"].value == 0.5
    assert point.metrics["tie_rate"].value == 1.0
    assert math.isnan(point.metrics["win_rate"].low)  # by definition: nothing was estimated


def test_a_run_that_collapses_is_flagged_and_its_best_is_from_before(tmp_path):
    monitor = run(make(tmp_path, quality=rises_then_falls), range(0, 101, 10), save=writes)
    assert monitor.verdict.state == "degraded"
    assert 50 < monitor.verdict.since <= 70
    assert 30 <= monitor.best.step <= 50
    assert (tmp_path / "_rm_monitor" / "best" / "model.safetensors").is_file()
    assert monitor.verdict.reason == str(monitor.verdict)
    assert "step" in monitor.verdict.reason


def test_a_healthy_run_is_not_flagged(tmp_path):
    monitor = run(make(tmp_path, quality=lambda step: 0.3 + 0.004 * step), range(0, 101, 10))
    assert monitor.verdict.state in ("improving", "steady")
    assert [p.step for p in monitor.curve] == list(range(0, 101, 10))


def test_a_step_that_is_not_due_gives_none_and_judges_nothing(tmp_path):
    monitor = make(tmp_path)
    assert monitor.step(5) is None
    assert monitor.curve == ()


def test_a_loop_that_gives_the_model_first_is_told_the_order(tmp_path):
    with pytest.raises(ValueError, match=r"`step` is .* monitor\.step\(step, model, tokenizer\)"):
        make(tmp_path).step(object(), None, 0)


def test_the_same_step_again_replaces_its_point(tmp_path):
    monitor = make(tmp_path)
    monitor.evaluate(step=10)
    monitor.evaluate(step=10)
    assert [p.step for p in monitor.curve] == [10]


def test_a_failed_evaluation_is_a_gap_with_its_reason(tmp_path, caplog):
    scorer, sink = Breaks(), Keeps()
    monitor = make(tmp_path, reward_model=scorer, report_to=sink)
    run(monitor, [0, 10])
    scorer.broken = True
    run(monitor, [20])
    scorer.broken = False
    run(monitor, [30])
    assert [p.status for p in monitor.curve] == ["ok", "ok", "failed", "ok"]
    gap = monitor.curve[2]
    assert gap.metrics == {}
    assert "the reward model fell over" in gap.reason
    assert "training goes on" in caplog.text
    assert [u.point.step for u in sink.updates] == [0, 10, 20, 30]


def test_on_error_raise_raises_after_recording(tmp_path):
    scorer = Breaks()
    scorer.broken = True
    monitor = make(tmp_path, reward_model=scorer, on_error="raise")
    with pytest.raises(RuntimeError, match="fell over"):
        monitor.step(0)
    assert monitor.curve[0].status == "failed"


def test_a_sink_that_fails_does_not_stop_the_others(tmp_path, caplog):
    sink = Keeps()
    monitor = make(tmp_path, report_to=[Fails(), sink])
    point = monitor.step(0)
    assert point.status == "ok"
    assert len(sink.updates) == 1
    assert "training goes on" in caplog.text


def test_scores_that_are_all_nan_are_a_failed_evaluation_not_a_zero(tmp_path):
    def judge(prompts, completions):
        return [math.nan] * len(completions)

    with pytest.raises(FirstEvaluationError, match="no completion could be scored"):
        make(tmp_path / "a", reward_model=judge).step(0)  # a loop is told before anything is lost
    point = make(tmp_path / "b", reward_model=judge, on_error="start-anyway").step(0)
    assert point.status == "failed"
    assert "no completion could be scored" in point.reason


def test_a_plain_function_is_judged_by_win_rate_because_its_scale_is_unknown(tmp_path):
    monitor = make(tmp_path, reward_model=lambda prompts, completions: [float(len(c)) for c in completions])
    point = monitor.step(0)
    assert monitor.run.metric == "win_rate"
    assert "win_prob" not in point.metrics


def test_one_score_serves_many_reference_sets_and_scorers(tmp_path):
    primary, gold = CountsGood(), CountsGood()
    references = {"weak": ["x"] * 64, "strong": ["good " * 9] * 64}
    monitor = make(tmp_path, reward_model={"main": primary, "gold": gold}, references=references)
    point = monitor.step(0)
    assert point.metrics["win_rate"].value > 0.9 > 0.1 > point.metrics["win_rate/strong"].value
    assert point.metrics["gold/win_prob"] == point.metrics["win_prob"]
    assert primary.calls == 1  # completions and both reference sets together
    monitor.evaluate(step=10)
    assert primary.calls == 2


def test_a_resumed_run_continues_its_curve_and_never_regenerates_references(tmp_path):
    first = run(make(tmp_path, references=None, quality=rises_then_falls), range(0, 61, 10), save=writes)
    second = make(tmp_path, references=None, quality=rises_then_falls)
    second.begin(resume_step=30)
    assert [p.step for p in second.curve] == [0, 10, 20, 30]
    assert {p.segment for p in second.curve} == {first.curve[0].segment}
    run(second, range(40, 61, 10), save=writes)
    assert [p.step for p in second.curve] == [p.step for p in first.curve]
    assert [p.metrics for p in second.curve] == [p.metrics for p in first.curve]
    assert second.verdict.state == first.verdict.state
    assert second._parts.evaluator.references[0].source == "the initial policy"


@pytest.mark.parametrize(
    "change",
    [
        {"sampling": Sampling(temperature=0.1)},
        {"references": ["other"] * 64},
        {"seed": 5},
    ],
)
def test_a_changed_setting_starts_a_new_segment(tmp_path, change):
    run(make(tmp_path), [0, 10])
    again = make(tmp_path, **change)
    again.begin(resume_step=10)
    run(again, [20])
    assert len({p.segment for p in again.curve}) == 2
    assert again.verdict.looks == 1


def test_a_checkpoint_of_the_users_own_is_linked_as_best(tmp_path):
    monitor = make(tmp_path, quality=lambda step: 0.2 + step / 100)
    for step in (10, 20, 30):
        folder = tmp_path / "mine" / str(step)
        folder.mkdir(parents=True)
        writes(folder)
        monitor._parts.evaluator.generator.step = step
        monitor.evaluate(step=step, checkpoint=folder)
    assert monitor.best.step == 30
    best = json.loads((tmp_path / "_rm_monitor" / "best.json").read_text())
    assert best["step"] == 30
    assert (tmp_path / "_rm_monitor" / "best" / "config.json").is_file()


@pytest.mark.parametrize("way", ["save", "checkpoint", "saved"])
@pytest.mark.parametrize("first", [0, 5])
def test_the_first_checkpoint_of_a_loop_is_the_best_and_stays_loadable(tmp_path, way, first):
    """Every way of giving weights, whatever the loop deletes afterwards, and after a restart."""

    def look(monitor, step):
        mine, more = tmp_path / "mine" / str(step), {}
        if way == "save":
            more = {"save": writes}
        else:
            mine.mkdir(parents=True)
            writes(mine)
            more = {"checkpoint": mine} if way == "checkpoint" else {}
        monitor._parts.evaluator.generator.step = step
        monitor.step(step, **more)
        if way == "saved":
            monitor.saved(step, mine)
        if mine.is_dir():
            shutil.rmtree(mine)

    def one():
        return make(tmp_path, quality=lambda step: 0.9 - step / 50, every=5)

    monitor = one()
    for step in (first, 10, 15):
        look(monitor, step)
    monitor.close()
    assert monitor.best.step == first
    assert problem(Path(monitor.best.checkpoint)) is None
    again = one()
    look(again, 20)
    assert again.best.step == first
    assert problem(Path(again.best.checkpoint)) is None


def test_a_kept_checkpoint_that_somebody_damaged_is_kept_again_from_its_source(tmp_path):
    monitor = make(tmp_path, quality=lambda step: 0.9 - step / 100)
    mine = tmp_path / "mine"
    mine.mkdir()
    writes(mine)
    monitor.step(0, checkpoint=mine)
    (tmp_path / "_rm_monitor" / "kept" / "step-0" / "config.json").write_text("{")
    monitor._parts.evaluator.generator.step = 10
    monitor.step(10, checkpoint=mine)
    assert monitor.best.step == 0
    assert problem(Path(monitor.best.checkpoint)) is None


def test_outside_a_trainer_an_output_dir_is_needed(tmp_path):
    monitor = make(tmp_path, output_dir=None)
    with pytest.raises(ValueError, match=r"`output_dir` is needed outside a Trainer"):
        monitor.step(0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(prompts=[]), "no prompts"),
        (dict(metric="accuracy"), r"`metric` .* got 'accuracy'"),
        (dict(on_error="ignore"), "`on_error`"),
        (dict(keep_best=0), "`keep_best`"),
        (dict(references=["one"]), "64|65"),
        (dict(reward_model={}), "empty mapping"),
        (dict(reward_model={"a/b": CountsGood()}), "scorer's name"),
        (dict(every=0), "every"),
        (dict(report_to="tensorbored"), "tensorbored"),
        ({"alarm": {"min_drop": 2}}, "`min_drop` is a share"),
        ({"alarm": {"tolerance": "some"}}, "`tolerance` is a share .* got 'some'"),
    ],
)
def test_bad_arguments_are_refused_at_construction(tmp_path, arguments, message):
    settings = dict(reward_model=CountsGood(), prompts=PROMPTS, references=["x"] * 64, output_dir=tmp_path)
    settings.update(arguments)
    with pytest.raises(ValueError, match=message):
        RewardMonitor(**settings)


def test_a_generator_that_gives_text_is_told_what_to_give(tmp_path):
    class Texts:
        def generate(self, prompts, sampling, **more):
            return ["a text"] * len(prompts)

    with pytest.raises(FirstEvaluationError, match=r"Completion\(prompt_id=..., text=...\)"):
        make(tmp_path, generator=Texts()).step(0)
    with pytest.raises(TypeError, match=r"`generator` is .*generate\(prompts, sampling, .*got function"):
        make(tmp_path, generator=lambda prompts: ["a text"])


def test_a_generator_that_loses_completions_is_a_failed_evaluation(tmp_path):
    class Loses:
        def generate(self, prompts, sampling, **more):
            return [Completion(prompt_id=prompts[0].id, text="only one")]

    point = make(tmp_path, generator=Loses(), on_error="start-anyway").step(0)
    assert point.status == "failed"
    assert "1 completions for 64 prompts" in point.reason


def test_settings_can_be_read_from_yaml(tmp_path, tiny_reward_model_dir):
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text('{"prompt": "Hi", "reference": "Hello"}\n{"prompt": "Bye", "reference": "Goodbye"}\n')
    config = tmp_path / "monitor.yaml"
    config.write_text(
        f"reward_model: {tiny_reward_model_dir}\nprompts: {prompts}\nreferences: reference\nevery: 50\n"
        "sampling: {temperature: 0, max_new_tokens: 4}\n"
    )
    monitor = RewardMonitor.from_config(config)
    assert monitor.settings.sampling == Sampling(temperature=0, max_new_tokens=4)
    assert monitor.settings.schedule.due(50, None)
    assert not monitor.settings.schedule.due(51, None)
    config.write_text("reward_model: x\nprompt: y\n")
    with pytest.raises(ValueError, match=r"unknown settings \['prompt'\]"):
        RewardMonitor.from_config(config)


def test_closing_twice_prints_one_summary(tmp_path, capsys):
    monitor = run(make(tmp_path), [0, 10])
    capsys.readouterr()
    monitor.close()
    monitor.close()
    assert capsys.readouterr().out.count("evaluations") == 1


def test_a_run_that_nobody_closed_has_last_words_and_one_that_was_has_none(tmp_path):
    monitor = run(make(tmp_path), [0, 10])
    said = monitor.run.last_words()
    assert "2 evaluations" in said
    assert "win probability" in said
    monitor.close()
    assert monitor.run.last_words() == ""


def test_ctrl_c_lets_a_run_say_what_was_best():
    script = (
        "from rm_monitor.monitor.at_exit import say_at_exit\n"
        "class Run:\n    def last_words(self): return 'Best: step 10'\n"
        "def main():\n    run = Run()\n    say_at_exit(run)\n    raise KeyboardInterrupt\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert "KeyboardInterrupt" in done.stderr
    assert done.stdout == "Best: step 10\n"
