"""The benchmark of the statistics measures what it says, against a truth that is the truth."""

import json

import numpy as np
import pytest
from scipy.special import expit

from benchmarks import simulation
from benchmarks.cases import Case
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
