"""The alarm by betting."""

import numpy as np
import pytest

from rm_monitor.stats import degradation


def run(levels, n=300, seed=0):
    rng = np.random.default_rng(seed)
    return np.asarray(levels, dtype=float)[:, None] + rng.normal(size=n) + rng.normal(size=(len(levels), n))


FALLING = [0, 0.5, 1, 1, 0, -0.5]


def flags(scores, **rules):
    return [look.flagged for look in degradation(scores, strict=True, horizon=len(scores), **rules)]


def test_a_large_fall_is_flagged_with_a_bound_below_what_was_seen():
    looks = degradation(run(FALLING), strict=True, horizon=6)
    assert [look.flagged for look in looks] == [False, False, False, False, True, True]
    assert 0 < looks[4].low < looks[4].drop
    assert max(looks[4].against) < min(looks[4].now) == 4
    assert looks[4].p <= 0.05


def test_a_rising_run_is_not_flagged():
    assert not any(flags(run([0, 1, 2, 3])))


def test_healthy_runs_are_hardly_ever_flagged():
    """100 flat runs at alpha .2: the theorem allows 20 (sd 4)."""
    assert sum(any(flags(run([0] * 5, n=60, seed=s), alpha=0.2)) for s in range(100)) <= 25


def test_wealth_grows_by_one_plus_stake_times_bet_at_each_prompt():
    """One contrast, worked by hand: every prompt falls from sure win to sure loss."""
    scores = np.vstack([np.ones(12), np.zeros(12)])
    look = degradation(scores, strict=True, pool=False, horizon=2)[1]
    stakes = np.array([0.1, 0.3, 0.6, 0.95])
    assert look.p == pytest.approx(1 / np.mean((1 + stakes) ** 12))


def test_outcomes_are_judged_when_there_are_no_rewards():
    wins = (run([2, 2, -2, -2]) > 0).astype(float)
    assert flags(wins, pool=False)[2]


def test_a_fall_within_the_tolerance_or_below_the_floor_is_not_flagged():
    scores = run([0, 0, -0.6], n=2000)
    assert flags(scores)[2]
    assert not flags(scores, tolerance=0.2)[2]
    assert not flags(scores, min_drop=0.2)[2]


def test_an_unknown_prompt_is_no_bet():
    scores = run(FALLING)
    padded = np.hstack([scores, np.full((6, 30), np.nan)])
    for a, b in zip(degradation(padded, strict=True), degradation(scores, strict=True), strict=True):
        assert (a.flagged, a.against, a.n) == (b.flagged, b.against, b.n)
        np.testing.assert_allclose([a.p, a.drop], [b.p, b.drop])


def test_a_row_that_lost_more_than_a_fifth_of_its_prompts_is_a_gap():
    scores = run([0, 0, 3, 0, 0])
    scores[2, :100] = np.nan
    looks = degradation(scores, strict=True, horizon=5)
    assert np.isnan(looks[2].p)
    assert not any(look.flagged for look in looks)


def test_copies_in_a_cluster_bet_once():
    few = run(FALLING, n=40)
    copies = np.repeat(few, 5, axis=1)
    alone = degradation(few, strict=True)
    together = degradation(copies, strict=True, clusters=np.repeat(np.arange(40), 5))
    np.testing.assert_allclose([x.p for x in together], [x.p for x in alone])
    assert degradation(copies, strict=True)[-1].p < alone[-1].p


@pytest.mark.parametrize("scores", [np.zeros((4, 50)), np.zeros((4, 0)), np.full((4, 50), np.nan)])
def test_where_nothing_differs_nothing_is_said(scores):
    assert all(not look.flagged and np.isnan(look.p) for look in degradation(scores, strict=True))
