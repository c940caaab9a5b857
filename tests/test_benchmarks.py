"""The benchmark of the statistics measures what it says, against a truth that is the truth."""

import json

import numpy as np
import pytest
from scipy import stats
from scipy.special import expit

from benchmarks import simulation
from benchmarks.cases import Case
from benchmarks.shared_noise import Noises, compared
from benchmarks.shared_noise import main as shared_noise
from benchmarks.statistics import main


@pytest.mark.parametrize("rate", [0.05, 0.60, 0.90])
def test_simulated_runs_have_the_win_rate_and_win_probability_that_they_claim(rate):
    rewards = simulation.rewards(np.full(2, rate), 100_000, np.random.default_rng(0))
    assert (rewards > 0).mean(axis=1) == pytest.approx(rate, abs=0.005)
    stated = simulation.win_probabilities(np.array([rate]))[0]
    assert expit(rewards).mean(axis=1) == pytest.approx(stated, abs=0.005)


def test_a_run_of_a_case_is_the_same_every_time_and_unlike_the_next():
    case = Case(name="a", rates=simulation.fall(0.1), n=20, ties=0.2, missing=0.1)
    first, again, other = (case.scores(case.rates, case.rng(run)) for run in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other, equal_nan=True)


def test_the_command_prints_tables_and_does_not_measure_twice(tmp_path, capsys):
    kept = tmp_path / "results.json"
    command = ["--runs", "2", "--tables", "rules_of_thumb", "falls", "--results", str(kept)]
    main(command)
    first = capsys.readouterr().out
    assert "| fall of 10, n = 128 |" in first
    assert "at least 0.85" in first
    assert set(json.loads(kept.read_text())) == {"rules_of_thumb", "falls"}
    main(command)
    again = capsys.readouterr().out
    assert "CPU-seconds" in first
    assert "CPU-seconds" not in again
    assert [x for x in again.splitlines() if x.startswith("|")] == [
        x for x in first.splitlines() if x.startswith("|")
    ]


@pytest.fixture(scope="module")
def noises():
    """Checkpoints whose answers change slowly, with one noise and with a noise each."""
    rng = np.random.default_rng(0)
    t, n = 9, 4000
    prompt, model = rng.normal(size=n), np.cumsum(0.1 * rng.normal(size=(t, n)), axis=0)
    one, own = rng.normal(size=n), rng.normal(size=(t, n))
    same = np.eye(t)
    return Noises(
        list(range(0, 3 * t, 3)), 0.1 * (prompt + model + one), 0.1 * (prompt + model + own), same, same
    )


def test_one_noise_is_worth_as_many_prompts_as_the_squares_of_the_errors_say(noises):
    rows = compared(noises)
    assert [row.steps for row in rows] == [3, 6, 12, 24]
    for row in rows:
        lag = row.steps // 3
        assert row.one == pytest.approx(10 * np.sqrt(0.01 * lag / 4000), rel=0.05)
        assert row.own == pytest.approx(10 * np.sqrt((0.01 * lag + 2) / 4000), rel=0.05)
        assert row.worth == pytest.approx((row.own / row.one) ** 2)
        assert row.own < row.unpaired  # pairing by prompt takes away what prompts have in common


def test_errors_of_the_benchmark_are_those_of_scipy(noises):
    row = compared(noises)[0]
    errors = [stats.sem(b - a) for a, b in zip(noises.one, noises.one[1:], strict=False)]
    assert row.one == pytest.approx(100 * np.sqrt(np.mean(np.square(errors))))


def test_with_one_noise_answers_stay_and_neighbours_compare_more_exactly(capsys):
    rows = shared_noise(["--quick"])
    assert rows[0].same_one > rows[0].same_own
    assert rows[0].one < rows[0].own
    assert "2 steps apart" in capsys.readouterr().out
