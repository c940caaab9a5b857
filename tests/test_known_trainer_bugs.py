"""Known bugs around best checkpoints, replayed with the monitor in the run.

The reports: transformers 11421, 12369, 40923 (a rank looks for the best before rank 0 wrote it; replayed in
test_distributed.py with two ranks), 25129, 37196 (the best is deleted), 39476, 39560 (no best, or a wrong
one, when it
falls between two saves), 28530 (early stopping does not find its metric), OpenRLHF 1333 (a resumed run
forgets its best).
"""

import json
import logging
from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM, EarlyStoppingCallback

from tests.test_callback import monitored, peak_at

STEPWISE = dict(save_strategy="steps", save_steps=2, eval_strategy="steps", eval_steps=2)
OURS = dict(load_best_model_at_end=True, metric_for_best_model="rm_win_prob")


def checkpoints(folder):
    return sorted(int(p.name.partition("-")[2]) for p in folder.glob("checkpoint-*"))


def weights(folder):
    return AutoModelForCausalLM.from_pretrained(folder).state_dict()


def same(a, b):
    return all(weight.equal(b[name]) for name, weight in a.items())


@pytest.mark.parametrize("limit", [1, 2])
@pytest.mark.parametrize("best", [2, 12])
def test_transformers_25129_some_checkpoint_and_the_best_are_left(
    tmp_path, tiny_policy, tiny_tokenizer, limit, best
):
    trainer, monitor = monitored(
        tmp_path,
        tiny_policy,
        tiny_tokenizer,
        peak_at(best),
        monitor_options={"every": None},
        steps=12,
        save_total_limit=limit,
        **STEPWISE,
        **OURS,
    )
    trainer.train()
    assert monitor.best.step == best
    assert best in checkpoints(tmp_path)
    assert limit == 1 or 12 in checkpoints(tmp_path)  # at 1 the Trainer keeps only the best
    assert same(trainer.model.state_dict(), weights(tmp_path / "_rm_monitor" / "best"))


def test_transformers_37196_the_best_needs_no_place_under_the_limit(tmp_path, tiny_policy, tiny_tokenizer):
    """Selected by the loss, the Trainer rotates our best away; the monitor's own copy stays whole."""
    trainer, monitor = monitored(
        tmp_path,
        tiny_policy,
        tiny_tokenizer,
        peak_at(2),
        monitor_options={"every": None},
        steps=12,
        save_total_limit=2,
        metric_for_best_model="loss",
        load_best_model_at_end=True,
        **STEPWISE,
    )
    trainer.train()
    assert monitor.best.step == 2
    assert 2 not in checkpoints(tmp_path)
    assert json.loads((tmp_path / "_rm_monitor" / "best.json").read_text())["step"] == 2
    weights(tmp_path / "_rm_monitor" / "best")


@pytest.mark.parametrize("number", [39476, 39560])
def test_a_best_between_two_saves_is_saved_marked_and_loaded(tmp_path, tiny_policy, tiny_tokenizer, number):
    """Without us the Trainer ends with ``best_model_checkpoint`` None (39476) or an older one (39560)."""
    every = {39476: dict(save_steps=8), 39560: dict(save_steps=4)}[number]
    trainer, monitor = monitored(
        tmp_path,
        tiny_policy,
        tiny_tokenizer,
        peak_at(6),
        monitor_options={"every": None},
        **{**STEPWISE, **every},
        **OURS,
    )
    trainer.train()
    assert trainer.state.best_global_step == monitor.best.step == 6
    assert Path(trainer.state.best_model_checkpoint).name == "checkpoint-6"
    assert same(trainer.model.state_dict(), weights(tmp_path / "checkpoint-6"))


@pytest.mark.parametrize("position", ["before", "after"])
@pytest.mark.parametrize("every", [4, None])
def test_transformers_28530_early_stopping_always_finds_its_metric(
    tmp_path, tiny_policy, tiny_tokenizer, caplog, position, every
):
    """Also where the monitor's own schedule leaves an evaluation of the Trainer out."""
    stopping = EarlyStoppingCallback(early_stopping_patience=2)
    trainer, _ = monitored(
        tmp_path,
        tiny_policy,
        tiny_tokenizer,
        peak_at(4),
        monitor_options={"every": every},
        callbacks={"before": (), "after": ()} | {position: (stopping,)},
        steps=20,
        **STEPWISE,
        **OURS,
    )
    with caplog.at_level(logging.WARNING):
        trainer.train()
    assert "early stopping required" not in caplog.text
    assert trainer.state.global_step == 8


def test_openrlhf_1333_a_resumed_run_does_not_take_a_worse_checkpoint_for_its_best(
    tmp_path, tiny_policy_dir, tiny_tokenizer
):
    """The run is cut at a checkpoint that is not its best; everything after it is worse."""

    def part(steps, resume):
        policy = AutoModelForCausalLM.from_pretrained(tiny_policy_dir)
        trainer, monitor = monitored(
            tmp_path, policy, tiny_tokenizer, peak_at(4), steps=steps, save_total_limit=3, **STEPWISE, **OURS
        )
        trainer.train(resume_from_checkpoint=resume)
        return trainer, monitor

    _, first = part(6, None)
    before = weights(tmp_path / "_rm_monitor" / "best")
    trainer, second = part(12, str(tmp_path / "checkpoint-6"))
    assert first.best.step == second.best.step == 4
    assert trainer.state.best_global_step == 4
    assert same(weights(tmp_path / "_rm_monitor" / "best"), before)
    assert [p.step for p in second.curve] == [0, 2, 4, 6, 8, 10, 12]
