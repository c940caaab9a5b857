"""How much checkpoints really jitter."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.beside import drifting
from rm_monitor.stats import jitter, pool_scores
from rm_monitor.stats.bends import NONE, PRIOR, expected, reach


def run(sd, seed, *, trend=0.0, t=20, n=200):
    rng = np.random.default_rng(seed)
    level = 0.5 + trend * np.linspace(0, 1, t) ** 2 + sd * rng.normal(size=t)
    return level[:, None] + 0.2 * rng.normal(size=n) + 0.3 * rng.normal(size=(t, n))


@pytest.mark.parametrize("trend", [0.0, 0.2, -0.2])
@pytest.mark.parametrize("sd", [0.02, 0.05])
def test_it_is_the_spread_of_the_truth_and_not_of_the_prompts_or_the_trend(sd, trend):
    found = [jitter(run(sd, seed, trend=trend), pool=False) for seed in range(60)]
    assert np.sqrt(np.mean(np.square(found))) == pytest.approx(sd, rel=0.2)


def test_a_smooth_run_has_hardly_any():
    found = [jitter(run(0.0, seed, trend=0.2), pool=False) for seed in range(60)]
    assert np.median(found) < 0.01  # a point of the curve has a standard error of 0.021
    assert min(found) == 0


def test_missing_scores_and_gaps_are_no_jitter():
    scores = run(0.0, 0)
    scores[np.random.default_rng(1).uniform(size=scores.shape) < 0.1] = np.nan
    scores[7] = np.nan
    assert jitter(scores, pool=False) < 0.02


def test_rewards_are_compared_by_pool_score():
    scores = run(0.5, 0)
    assert jitter(scores) == jitter(pool_scores(scores), pool=False) > 0.05


def test_few_evaluations_tell_nothing():
    assert np.isnan(jitter(run(0.05, 0, t=4), pool=False))
    assert np.isnan(jitter(run(0.05, 0, n=1), pool=False))


@given(st.floats(0.0, 0.2), st.floats(1.0, 4.0))
def test_the_more_prompts_can_tell_the_more_jitter_is_expected(error, times):
    fine, coarse = expected(error), expected(error * times + 1e-6)
    assert fine.weight.sum() == pytest.approx(1.0)
    assert fine.weight[0] <= coarse.weight[0]
    assert fine.typical >= coarse.typical - 1e-12


@given(st.floats(0.0, 0.3), st.sampled_from([0.5, 0.95, 0.9999]), st.floats(0.0, 0.2))
def test_jitter_never_narrows_an_interval_and_without_it_nothing_changes(half, level, error):
    assert reach(half, level, NONE) == pytest.approx(half, abs=1e-9)
    assert reach(half, level, expected(error)) >= half
    assert reach(half + 0.01, level, PRIOR) >= reach(half, level, PRIOR)


def test_text_metrics_that_only_go_up_and_down_are_not_said_to_have_moved():
    moved = [drifting(64, 0.01, run) for run in range(20)]
    assert sum(map(bool, moved)) <= 3
