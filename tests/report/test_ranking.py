"""Which of my runs: their bests on the same prompts."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from rm_monitor import stats
from rm_monitor.cli import app
from rm_monitor.errors import NotFoundError
from rm_monitor.runs import load_run, rank
from tests.report.test_runs import train


def run_of(gain):
    return lambda k, i: 8 + gain * k + (i * 7 + k * 3) % 4


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    folders = []
    for name, gain in (("slow", 1), ("fast", 4), ("same", 4)):
        folder = tmp_path_factory.mktemp(name)
        train(folder, run_of(gain), 3)
        folders.append(folder)
    return folders


def test_the_better_run_is_first_and_an_equal_one_is_tied(three):
    slow, fast, same = three
    ranking = rank(three)
    assert [r.run for r in ranking.runs] == [str(fast), str(same), str(slow)]
    assert [r.tied for r in ranking.runs] == [True, True, False]
    assert ranking.runs[2].behind.high < 0
    assert ranking.runs[2].head_to_head.value < 0.5
    assert ranking.cost == 0.0
    assert ranking.p_best == pytest.approx(0.5, abs=0.05)


def test_the_change_shown_is_paired_on_the_prompts_of_both(three):
    slow, fast, _ = three
    ranking = rank([slow, fast])
    a, b = (next(p for p in load_run(r.run).curve if p.step == r.step) for r in ranking.runs)
    paired = stats.paired_change(a.values["win_rate"], b.values["win_rate"])
    assert ranking.runs[1].behind.value == pytest.approx(paired.value)


def test_the_command_prints_the_order_and_what_the_choice_costs(three):
    said = CliRunner().invoke(app, ["rank", *map(str, three)])
    assert said.exit_code == 0
    assert "1. " in said.output
    assert "it costs at most" in said.output
    found = json.loads(CliRunner().invoke(app, ["rank", "--json", *map(str, three)]).output)
    assert [r["tied"] for r in found["runs"]] == [True, True, False]


def test_a_best_that_was_chosen_among_more_is_said_to_be_flattered(three, tmp_path):
    train(tmp_path, run_of(2), 7)
    said = str(rank([three[0], tmp_path]))
    assert f"The best of {tmp_path} was chosen among 7 evaluations, that of {three[0]} among 3" in said
    assert "flatters" not in str(rank(three))


def test_the_planner_reckons_with_what_a_run_shows(three):
    run = load_run(three[0])
    rows = np.array([p.values["reward"] for p in run.curve])
    temperature = run.manifest["rules"]["temperature"] or stats.pool_temperature(rows[0])
    shown = stats.spread_of_run(rows, temperature=temperature)
    asked = ["power", str(three[0]), "--prompts", "64", "--evaluations", "20"]
    found = json.loads(CliRunner().invoke(app, [*asked, "--json"]).output)
    assert (found["spread"], found["near"]) == pytest.approx(shown)
    plan = stats.plan(64, 20, spread=shown.far, near=min(shown), jitter=stats.as_pool_score(0.007))
    assert found["visible"] == pytest.approx(plan.visible)
    assert f"differ by {100 * shown.far:.0f} points of 100" in CliRunner().invoke(app, asked).output


def test_runs_that_are_not_alike_or_not_there_are_refused(three, tmp_path):
    with pytest.raises(ValueError, match="at least two runs, got 1"):
        rank(three[:1])
    train(tmp_path / "other", run_of(1), 3, seed=5)
    with pytest.raises(ValueError, match=r"cannot be ranked, they were measured otherwise \(seed: 0 / 5"):
        rank([three[0], tmp_path / "other"])
    with pytest.raises(NotFoundError):
        rank([three[0], tmp_path])
