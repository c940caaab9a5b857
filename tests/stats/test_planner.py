"""What is promised before a run."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from benchmarks import measure, simulation
from benchmarks.cases import Case
from rm_monitor.cli import app
from rm_monitor.stats import as_win_rate, plan, spread_of_run, spread_of_two_answers, worth_more_prompts
from rm_monitor.stats.planner import _residuals


def test_more_prompts_and_less_jitter_show_smaller_falls():
    assert plan(64).visible > plan(128).visible > plan(256).visible
    assert plan(128, jitter=0.012).visible > plan(128).visible


def test_with_jitter_more_prompts_stop_helping_sooner():
    assert worth_more_prompts(jitter=0.012) <= worth_more_prompts(jitter=0.0)


@pytest.mark.parametrize(("n", "least", "most"), [(64, 0.5, 1.0), (256, 0.5, 1.0)])
def test_a_fall_of_the_size_told_is_seen_about_8_times_in_10(n, least, most):
    """Whole simulated prompts, 16 runs of 20 evaluations: 0.8 within three standard errors."""
    told = as_win_rate(plan(n, 20).visible)
    case = Case(name="drop", rates=simulation.drop(told), n=n)
    seen = np.mean([bool(measure.watch(case, run).alarms) for run in range(16)])
    assert least <= seen <= most


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"prompts": 9}, "`prompts` .* got 9"),
        ({"prompts": 64, "evaluations": 1}, "`evaluations` .* got 1"),
        ({"prompts": 64, "spread": 0.0}, "`spread` .* got 0.0"),
        ({"prompts": 64, "near": 2.0}, "`near` .* got 2.0"),
        ({"prompts": 64, "jitter": 1.0}, "`jitter` .* got 1.0"),
        ({"prompts": 64, "power": 0.2}, "`power` .* got 0.2"),
    ],
)
def test_a_wrong_plan_is_refused_with_the_value(arguments, message):
    with pytest.raises(ValueError, match=message):
        plan(**arguments)


def test_the_command_says_what_a_run_will_see():
    said = CliRunner().invoke(app, ["power", "--prompts", "64", "--evaluations", "10", "--seconds", "1"])
    assert said.exit_code == 0
    assert "64 prompts, 10 evaluations: a lasting fall of" in said.output
    assert "One evaluation takes about 64 s, all 10: 11 min." in said.output
    found = json.loads(CliRunner().invoke(app, ["power", "--prompts", "64", "--json"]).output)
    assert found["visible"] == plan(64, 20, jitter=0.007 * 0.81).visible
    assert (found["near"], found["seconds"]) == (None, None)


@settings(max_examples=20, deadline=None)
@given(st.floats(0.02, 0.9), st.floats(0.05, 1.0))
def test_a_plan_is_for_runs_whose_neighbours_and_far_checkpoints_differ_as_told(far, share):
    rows = _residuals(60, 4000, far, far * share, 0)
    assert np.std(rows[1:] - rows[:-1], axis=1).mean() == pytest.approx(far * share, rel=0.05)
    if share > 0.5:  # nearer neighbours take longer to part than a run of 60 lasts
        assert np.std(rows[40:] - rows[:-40], axis=1).mean() == pytest.approx(far, rel=0.05)


def test_one_noise_for_all_checkpoints_shows_smaller_falls():
    assert plan(128, near=0.05).visible < plan(128, near=0.3).visible


def test_a_run_shows_the_spread_that_its_scores_have():
    rng = np.random.default_rng(0)
    way = np.cumsum(0.05 * rng.normal(size=(12, 500)), axis=0)
    found = spread_of_run(way, pool=False)
    assert found.near == pytest.approx(0.05, rel=0.05)
    assert found.near < found.far
    assert np.isnan(spread_of_run(way[:2]).far)


@pytest.mark.parametrize("unlike", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("scale", [0.5, 3.0])
def test_two_answers_a_prompt_show_the_spread_of_a_run_whose_answers_are_all_drawn_anew(unlike, scale):
    rng = np.random.default_rng(0)
    middle, size = rng.normal(size=1000), scale * np.exp(unlike * rng.normal(size=1000))
    run = middle + size * rng.normal(size=(20, 1000))
    assert spread_of_two_answers(run[:2]) == pytest.approx(spread_of_run(run).far, rel=0.1)
    assert np.isnan(spread_of_two_answers(run[:2, :9]))


@given(t=st.integers(3, 12), n=st.integers(10, 20), seed=st.integers(0, 10**6), gaps=st.booleans())
def test_the_spread_of_a_run_is_that_of_each_pair_of_its_evaluations(t, n, seed, gaps):
    """Root mean square over lags and pairs of the standard deviation over prompts, each pair on its own."""
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=(t, n)) * 0.1 + rng.normal(size=n)
    if gaps:
        scores[rng.random((t, n)) < 0.1] = np.nan
    lags = range(max(t // 2, 2), t)
    with np.errstate(all="ignore"):
        pairs = [[np.nanvar(scores[i + lag] - scores[i]) for i in range(t - lag)] for lag in lags]
    far = np.sqrt(np.mean([np.mean(one) for one in pairs]))
    assert spread_of_run(scores, pool=False).far == pytest.approx(far, rel=1e-9)
