"""Completions and rewards become per-prompt values, and values become estimates."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rm_monitor import Completion, Prompt
from rm_monitor.curve import rewards, tables
from rm_monitor.types import Scores, Table

finite = st.floats(-50, 50, allow_nan=False).map(lambda x: round(x, 3))
pairs = st.lists(st.tuples(finite, finite), min_size=1, max_size=30)


def completion(text, **more):
    return Completion(prompt_id="p", text=text, **more)


@given(pairs)
def test_swapping_sides_turns_wins_into_losses(rows):
    a, b = np.array(rows).T
    there = rewards.compare(a[:, None], b, scale="logit")
    back = rewards.compare(b[:, None], a, scale="logit")
    np.testing.assert_allclose(there["win_prob"] + back["win_prob"], 1.0)
    np.testing.assert_array_equal(there["win_rate"] + back["win_rate"], 1.0)


@given(st.lists(finite, min_size=1, max_size=30))
def test_a_self_comparison_is_exactly_one_half(scores):
    r = np.array(scores)
    values = rewards.compare(r[:, None], r, scale="logit")
    assert (values["win_prob"] == 0.5).all()
    assert (values["win_rate"] == 0.5).all()
    assert (values["tie_rate"] == 1.0).all()


@given(pairs, finite)
def test_adding_a_constant_to_all_rewards_changes_no_win_probability(rows, shift):
    a, b = np.array(rows).T
    plain = rewards.compare(a[:, None], b, scale="logit")["win_prob"]
    moved = rewards.compare(a[:, None] + shift, b + shift, scale="logit")["win_prob"]
    np.testing.assert_allclose(plain, moved, atol=2e-3)  # the width of a tie grows with the scores


def test_a_collapsed_reward_model_gives_only_ties():
    rng = np.random.default_rng(0)
    noise = 0.3 + 1e-7 * rng.standard_normal((50, 2))
    values = rewards.compare(noise[:, :1], noise[:, 1], scale="logit")
    assert (values["win_rate"] == 0.5).all()
    assert (values["win_prob"] == 0.5).all()


@pytest.mark.parametrize("scale", ["rating", "unit", "unknown"])
def test_no_probability_is_invented_for_a_scale_that_has_none(scale):
    reward = np.array([[1.0], [2.0]])
    assert "win_prob" not in rewards.compare(reward, np.zeros(2), scale=scale)
    assert "win_prob" in rewards.compare(reward, np.zeros(2), scale=scale, temperature=2.0)


def test_an_unscored_completion_is_nan_everywhere_and_never_a_loss():
    values = rewards.compare(np.array([[np.nan], [1.0]]), np.zeros(2), scale="logit")
    assert all(np.isnan(x[0, 0]) and not np.isnan(x[1, 0]) for x in values.values())


def test_samples_are_averaged_inside_the_prompt_and_never_counted_as_prompts():
    table = Table(
        prompt_ids=("a", "b"),
        completions=((completion("x"),), (completion("y"),)),
        values={"reward": np.array([[1.0, 3.0], [5.0, np.nan]])},
    )
    mean = tables.per_prompt(table)["reward"]
    np.testing.assert_array_equal(mean, [2.0, 5.0])
    prompts = [Prompt(id=i, messages=({"role": "user", "content": i},)) for i in "ab"]
    assert tables.summarise({"reward": mean}, prompts)["reward"].n == 2


def test_every_tag_gets_its_own_headline_curve():
    prompts = [
        Prompt(
            id=str(i),
            messages=({"role": "user", "content": str(i)},),
            tags=("even",) if i % 2 == 0 else ("odd",),
        )
        for i in range(8)
    ]
    metrics = tables.summarise({"win_rate": np.array([1.0, 0.0] * 4), "length": np.arange(8.0)}, prompts)
    assert metrics["win_rate@even"].value == 1.0
    assert metrics["win_rate@odd"].value == 0.0
    assert metrics["win_rate@odd"].n == 4
    assert "length@odd" not in metrics


def test_prompts_of_one_conversation_count_once():
    lone = [Prompt(id=str(i), messages=({"role": "user", "content": "x"},)) for i in range(40)]
    grouped = [
        Prompt(id=str(i), messages=({"role": "user", "content": "x"},), cluster=str(i // 10))
        for i in range(40)
    ]
    y = {"win_prob": np.repeat([0.2, 0.4, 0.6, 0.8], 10) + np.tile([0.0, 0.01], 20)}
    alone, together = (tables.summarise(y, p)["win_prob"] for p in (lone, grouped))
    assert together.high - together.low > 2 * (alone.high - alone.low)


def test_a_point_with_too_few_scored_prompts_is_partial():
    assert tables.status_of(np.full(20, 0.5)) == ("ok", "")
    assert tables.status_of(np.array([0.5] * 10 + [np.nan] * 10))[0] == "partial"
    assert tables.status_of(np.full(3, np.nan))[0] == "failed"
    assert tables.status_of(None)[0] == "failed"


def test_prompts_that_can_never_be_scored_do_not_make_a_point_partial():
    headline = np.array([0.5] * 10 + [np.nan] * 10)
    assert tables.status_of(headline, np.arange(20) < 10) == ("ok", "")


@pytest.mark.parametrize("bad", [np.zeros(3), np.zeros((4, 1)), [1.0]])
def test_a_scorer_that_returns_the_wrong_shape_is_told_so(bad):
    with pytest.raises(ValueError, match=r"one score a completion, an array of shape \(4,\)"):
        rewards.as_scores(bad, 4, scorer="scorer 'x'")


def test_infinite_scores_become_nan_and_are_flagged():
    scores = rewards.as_scores(np.array([1.0, np.inf, np.nan]), 3, scorer="s")
    np.testing.assert_array_equal(np.isnan(scores.reward), [False, True, True])
    np.testing.assert_array_equal(scores.flags["nonfinite"], [False, True, True])
    assert rewards.as_scores(Scores(reward=np.zeros(2)), 2, scorer="s").flags == {}
