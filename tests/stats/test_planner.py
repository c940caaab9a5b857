"""What is promised before a run."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from rm_monitor.cli import app
from rm_monitor.stats import Detector, plan, worth_more_prompts


def test_more_prompts_and_less_jitter_show_smaller_falls():
    assert plan(64).visible > plan(128).visible > plan(256).visible
    assert plan(128, jitter=0.012).visible > plan(128).visible


def test_with_jitter_more_prompts_stop_helping_sooner():
    assert worth_more_prompts(jitter=0.012) <= worth_more_prompts(jitter=0.0)


def test_a_fall_of_the_size_told_is_seen_about_8_times_in_10():
    """40 runs of 12 evaluations that fall by what was told, at once, after the sixth."""
    told = plan(100, 12).visible
    seen = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        prompt, way = rng.normal(size=100), rng.normal(size=(12, 100))
        scores = 0.5 + 0.05 * prompt + 0.31 / np.sqrt(2) * way
        scores[6:] -= told
        detector = Detector(pool=False, horizon=12, replicates=1000)
        seen += any(detector.add(np.clip(row, 0, 1))[0].flagged for row in scores)
    assert 24 <= seen <= 40


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"prompts": 9}, "`prompts` .* got 9"),
        ({"prompts": 64, "evaluations": 1}, "`evaluations` .* got 1"),
        ({"prompts": 64, "spread": 0.0}, "`spread` .* got 0.0"),
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
    assert "One evaluation takes about 1.1 min" in said.output
    found = json.loads(CliRunner().invoke(app, ["power", "--prompts", "64", "--json"]).output)
    assert found["visible"] == plan(64, 20, jitter=0.007 * 0.81).visible
