"""The best of a run that is over, settled on prompts that the run was never judged on."""

import numpy as np
import pytest

from rm_monitor import Estimate, EvalPoint, RewardMonitor, Sampling, load_prompts, messages
from rm_monitor.curve.tables import per_prompt
from rm_monitor.sweep.confirmation import confirm_best, parts
from tests.helpers import CountsGood

HELD_OUT = load_prompts([f"held out {i}" for i in range(200)])
QUALITY = np.array([0.0, 0.8, 1.0, 1.0, 1.0, 0.4])


def rewards(level, n, rng):
    margin = level + rng.normal(0, 1.5, n)
    return {"reward": margin, "win_prob": 1 / (1 + np.exp(-margin))}


def run(seed=0, n=64):
    rng = np.random.default_rng(seed)
    curve = []
    for i, q in enumerate(QUALITY):
        values = rewards(q, n, rng)
        metrics = {k: Estimate(float(x.mean()), np.nan, np.nan, n) for k, x in values.items()}
        curve.append(EvalPoint(step=10 * i, checkpoint=f"c-{i}", values=values, metrics=metrics))
    return curve, rng


def test_each_stage_asks_other_prompts_and_only_the_survivors():
    curve, rng = run()
    asked = []

    def answer(point, prompts):
        asked.append((point.step, tuple(p.id for p in prompts)))
        return rewards(QUALITY[point.step // 10], len(prompts), rng)

    found = confirm_best(curve, HELD_OUT, answer, metric="win_prob", keep=(4, 2))
    first, second = (set(asked[0][1]), set(asked[-1][1]))
    assert not first & second
    assert len(first) + len(second) == 200
    assert [step for step, _ in asked] == [*found.stages[0], *found.stages[1]]
    assert set(found.stages[1]) <= set(found.stages[0])
    assert found.best.step in found.stages[1]
    assert "does not flatter" in messages.confirmed(found.best, found.live, answered=4)


def test_the_value_of_the_winner_does_not_flatter_where_the_live_one_does():
    live, held_out = [], []
    truth = float(np.mean(1 / (1 + np.exp(-(1.0 + np.random.default_rng(9).normal(0, 1.5, 200_000))))))
    for seed in range(60):
        curve, rng = run(seed, n=32)

        def answer(point, prompts, rng=rng):
            return rewards(QUALITY[point.step // 10], len(prompts), rng)

        found = confirm_best(curve, HELD_OUT, answer, metric="win_prob", keep=(4, 2), seed=seed)
        at = {p.step: p.metrics["win_prob"].value for p in curve}
        live.append(at[found.live] - truth)
        held_out.append(found.best.value.value - truth)
    assert np.mean(live) > 0.02
    assert abs(np.mean(held_out)) < 0.015


def test_a_checkpoint_that_is_gone_cannot_win():
    from dataclasses import replace

    curve, rng = run()
    gone = [replace(p, checkpoint=None) if p.step in (20, 30) else p for p in curve]
    found = confirm_best(
        gone,
        HELD_OUT,
        lambda p, asked: rewards(QUALITY[p.step // 10], len(asked), rng),
        metric="win_prob",
        keep=(3, 2),
    )
    assert found.best.step not in (20, 30)


def test_prompts_of_the_run_too_few_prompts_and_no_checkpoint_are_refused():
    from dataclasses import replace

    curve, _ = run()
    asked = [replace(p, prompt_ids=tuple(q.id for q in HELD_OUT)[:64]) for p in curve]
    with pytest.raises(ValueError, match="64 of the held-out prompts were asked in the run"):
        confirm_best(asked, HELD_OUT, None, metric="win_prob")
    with pytest.raises(ValueError, match="at least 30 held-out prompts"):
        parts(load_prompts(["a", "b"]), 3)
    with pytest.raises(ValueError, match="nothing to answer again"):
        confirm_best([replace(p, checkpoint=None) for p in curve], HELD_OUT, None, metric="win_prob")


def test_saved_checkpoints_answer_again(tmp_path, tiny_policy, tiny_policy_dir, tiny_tokenizer):
    """With real folders: the weights on disk answer, in whatever way the caller loads them."""
    from transformers import AutoModelForCausalLM

    settings = dict(sampling=Sampling(max_new_tokens=3), report_to="none")
    first = RewardMonitor(
        CountsGood(), [f"p {i}" for i in range(12)], references=["good"] * 12, output_dir=tmp_path, **settings
    )
    for step in (0, 10):
        first.evaluate(tiny_policy, tiny_tokenizer, step=step, checkpoint=tiny_policy_dir)
    held_out = load_prompts([f"held out {i}" for i in range(24)])
    loaded = []

    def answer(point, prompts):
        loaded.append(point.checkpoint)
        model = AutoModelForCausalLM.from_pretrained(point.checkpoint)
        judge = RewardMonitor(
            CountsGood(),
            list(prompts),
            references=["good"] * len(prompts),
            output_dir=tmp_path / "again",
            **settings,
        )
        return per_prompt(judge.begin().measure(model, tiny_tokenizer, step=point.step).table)

    curve = [p for p in first.curve if p.checkpoint]
    found = confirm_best(curve, held_out, answer, metric=first.run.metric, keep=(2, 1))
    assert found.best.checkpoint in loaded
    assert found.best.value.n == 12
    first.close()
