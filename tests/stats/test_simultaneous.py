"""Changes from one checkpoint, with bars that hold all at once."""

import numpy as np
import pytest

from rm_monitor import stats


def test_all_bars_of_a_healthy_run_cover_at_once_as_often_as_they_say():
    """600 runs of 12 equal checkpoints on 64 prompts with heavy prompt effects; 95 % means 93 to 97.5 %."""
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(600):
        y = rng.normal(0, 2.0, 64) + rng.normal(0, 1.0, (12, 64))
        covered += all(e.low <= 0 <= e.high for e in stats.changes(y, 0)[1:])
    assert 0.93 <= covered / 600 <= 0.975


def test_single_intervals_would_not_hold_at_once():
    """The meta-check: what this room exists to avoid does happen."""
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(200):
        y = rng.normal(0, 1.0, (12, 64))
        covered += all(e.low <= 0 <= e.high for e in (stats.paired_change(y[0], row) for row in y[1:]))
    assert covered / 200 < 0.80


def test_two_rows_give_the_paired_interval_of_student():
    from scipy.stats import ttest_1samp

    y = np.random.default_rng(2).normal(0, 1, (2, 200))
    expected = ttest_1samp(y[1] - y[0], 0).confidence_interval(0.95)
    found = stats.changes(y, 0)[1]
    assert found.low == pytest.approx(expected.low, abs=0.01)
    assert found.high == pytest.approx(expected.high, abs=0.01)


def test_the_origin_is_exactly_zero_and_an_unknown_row_is_unknown():
    y = np.random.default_rng(3).normal(0, 1, (3, 20))
    y[2] = np.nan
    found = stats.changes(y, 1)
    assert found[1][:3] == (0.0, 0.0, 0.0)
    assert np.isnan(found[2].value)
    assert found[2].n == 0


def test_prompts_of_one_cluster_count_as_one():
    rng = np.random.default_rng(4)
    y = np.repeat(rng.normal(0, 1, (4, 40)), 5, axis=1)
    clusters = np.repeat(np.arange(40), 5)
    naive, honest = stats.changes(y, 0)[1], stats.changes(y, 0, clusters=clusters)[1]
    assert (honest.high - honest.low) > 2 * (naive.high - naive.low)
