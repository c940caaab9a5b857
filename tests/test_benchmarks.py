"""The benchmark of the statistics measures what it says, against a truth that is the truth."""

import json

import numpy as np
import pytest
from scipy import stats
from scipy.special import expit

from benchmarks import simulation
from benchmarks.cases import Case
from benchmarks.kept import Kept
from benchmarks.shared_noise import Noises, compared
from benchmarks.shared_noise import main as shared_noise
from benchmarks.statistics import main
from benchmarks.watching import Growing
from rm_monitor.stats.readings import Readings


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
    command = ["--runs", "2", "--tables", "rules_of_thumb", "short", "clusters", "--results", str(kept)]
    main(command)
    first = capsys.readouterr().out
    assert "| 3 evaluations, known, n = 64, jitter 0 |" in first
    assert "at most 0.08" in first
    cells = json.loads(kept.read_text())
    assert len([name for name in cells if name.startswith("alarms: ")]) == 16
    main(command)
    again = capsys.readouterr().out
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


def test_a_cell_is_measured_once_and_what_was_broken_off_goes_on(tmp_path):
    path = tmp_path / "cells.json"
    assert Kept(path)("a", lambda: [1, True]) == [1, True]
    assert Kept(path)("a", lambda: pytest.fail("measured twice")) == [1, True]


@pytest.mark.parametrize(("t", "pool"), [(12, True), (46, True), (12, False)])
def test_runs_side_by_side_are_read_as_the_detector_reads_each(t, pool):
    case = Case(name="side by side", rates=simulation.fall(0.1, t=t), n=24, jitter=0.02, outcomes=not pool)
    scores = np.array([case.run(r) for r in range(2)])
    together, alone = Growing(scores, pool=pool), [Readings(pool=pool, replicates=50) for _ in scores]
    for s in range(t):
        seen = together.add()
        for i, readings in enumerate(alone):
            read = readings.add(scores[i, s])
            if read is None or not read.seen.usable.all():
                continue
            np.testing.assert_allclose(seen.drop[i], read.seen.drop, atol=1e-5)
            np.testing.assert_allclose(seen.z[i], read.z, atol=1e-3)
            for width, (_, known) in zip((1, 2, 3, 5), read.tops):
                np.testing.assert_allclose(together.known(i, width).weight, known.weight, atol=2e-3)
