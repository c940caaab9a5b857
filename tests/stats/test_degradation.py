"""The alarm: it keeps its false-alarm rate, sees falls, and says the same thing when replayed."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rm_monitor.stats import Detector, degradation, smallest_visible_drop
from rm_monitor.stats.spending import Budget, spent_by


def run(levels, n=128, seed=0, prompt_sd=1.6, noise=1.5):
    """Rewards of a run whose true level is known: level + prompt + noise."""
    rng = np.random.default_rng(seed)
    return (
        np.asarray(levels, dtype=float)[:, None]
        + prompt_sd * rng.normal(size=n)
        + noise * rng.normal(size=(len(levels), n))
    )


FALLING = [0, 0.5, 1, 1, 1, 1, 0.2, -0.5]


def first_flag(looks):
    return next((t for t, look in enumerate(looks) if look.flagged), None)


def test_a_fall_is_flagged_after_it_began_and_against_rows_before_it():
    looks = degradation(run(FALLING), horizon=8)
    t = first_flag(looks)
    assert t in (6, 7)
    assert max(looks[t].against) < min(looks[t].now)
    assert max(looks[t].now) == t
    assert 0 < looks[t].low < looks[t].drop
    assert looks[t].p <= 0.05


def test_a_rising_run_is_not_flagged():
    assert first_flag(degradation(run(np.linspace(0, 2, 10)), horizon=10)) is None


def test_healthy_runs_are_flagged_as_rarely_as_stated():
    """200 flat runs of 12 evaluations at alpha .2: 40 alarms expected (sd 5.7)."""
    flagged = [
        first_flag(quick_looks(run([0] * 12, n=64, seed=s), horizon=12)) is not None for s in range(200)
    ]
    assert 20 <= sum(flagged) <= 60


def quick_looks(scores, horizon, **rules):
    """The looks at alpha .2 with fewer resamples, for many runs."""
    detector = Detector(levels=(0.2,), horizon=horizon, replicates=1000, **rules)
    return [detector.add(row)[0] for row in scores]


def test_the_stated_bounds_of_a_run_hold_together():
    """150 falling runs at alpha .2: at most 30 should have a bound above the true fall (sd 4.9)."""
    levels = np.array([0, 0, 0, -0.3, -0.6, -0.9])
    wrong = 0
    for seed in range(150):
        looks = quick_looks(run(levels, n=200, seed=seed), horizon=6)
        wrong += any(
            look.low > true_fall(levels[: t + 1], look)
            for t, look in enumerate(looks)
            if np.isfinite(look.low)
        )
    assert wrong <= 45


def true_fall(levels, look, draws=20_000):
    """The fall of the pool score in a population of prompts, from 20,000 of them."""
    from rm_monitor.stats import pool_scores

    key = (tuple(levels), look.against, look.now)
    if key not in _TRUTH:
        mean = pool_scores(run(levels, n=draws, seed=10**6)).mean(axis=1)
        _TRUTH[key] = mean[list(look.against)].mean() - mean[list(look.now)].mean()
    return _TRUTH[key]


_TRUTH = {}


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 7), st.integers(0, 5))
def test_a_resumed_run_says_what_an_unbroken_one_says(cut, seed):
    scores = run(FALLING, n=40, seed=seed)
    whole = degradation(scores, horizon=8, seed=seed)
    first, again = Detector(horizon=8, seed=seed), Detector(horizon=8, seed=seed)
    for row in scores[:cut]:
        first.add(row)  # the process that died
    resumed = [again.add(row)[0] for row in scores]
    np.testing.assert_equal(resumed, whole)


def test_earlier_looks_do_not_change_when_the_run_goes_on():
    scores = run(FALLING)
    np.testing.assert_equal(degradation(scores[:5], horizon=8), degradation(scores, horizon=8)[:5])


def test_the_seed_alone_decides_the_resamples():
    scores = run(FALLING)
    np.testing.assert_equal(degradation(scores, seed=3), degradation(scores, seed=3))
    assert degradation(scores, seed=3)[-1].critical != degradation(scores, seed=4)[-1].critical


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 30))
def test_the_order_of_the_prompts_does_not_change_the_fall(seed):
    scores = run([0, 1, -1], n=60, seed=seed)
    shuffled = scores[:, np.random.default_rng(seed).permutation(60)]
    a, b = degradation(scores, horizon=3)[-1], degradation(shuffled, horizon=3)[-1]
    assert (a.against, a.now) == (b.against, b.now)
    assert a.drop == pytest.approx(b.drop)
    assert a.critical == pytest.approx(b.critical, rel=0.1)  # other signs meet other prompts


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 30))
def test_what_a_prompt_adds_to_all_its_rewards_changes_nothing(seed):
    scores = run(FALLING, n=50, seed=seed)
    easier = scores + np.random.default_rng(seed).normal(size=50)
    for a, b in zip(degradation(scores, horizon=8), degradation(easier, horizon=8), strict=True):
        assert a.flagged == b.flagged
        np.testing.assert_allclose([a.drop, a.low], [b.drop, b.low], atol=1e-6)


def test_prompts_never_scored_change_nothing():
    scores = run(FALLING, n=60)
    padded = np.hstack([scores, np.full((8, 40), np.nan)])
    for a, b in zip(degradation(scores, horizon=8), degradation(padded, horizon=8), strict=True):
        assert a.n == b.n
        np.testing.assert_allclose(a.drop, b.drop)


def test_a_fall_is_seen_through_missing_scores():
    scores = run(FALLING, n=200)
    scores[np.random.default_rng(0).uniform(size=scores.shape) < 0.1] = np.nan
    assert first_flag(degradation(scores, horizon=8)) in (6, 7)


def test_a_row_that_lost_more_than_a_fifth_of_its_prompts_is_a_gap():
    """Only the worst answers fail to be scored: what is left must not look like a recovery or a fall."""
    scores = run([0, 0, 0, 3, 0, 0], n=100)
    scores[3, :40] = np.nan
    looks = degradation(scores, horizon=6)
    assert (looks[3].n, looks[3].flagged) == (60, False)
    assert np.isnan(looks[3].p)
    assert all(3 not in look.against for look in looks)
    assert first_flag(looks) is None


def test_an_evaluation_without_any_score_is_a_gap():
    scores = run(FALLING)
    scores[3] = np.nan
    looks = degradation(scores, horizon=8)
    assert looks[3].n == 0
    assert first_flag(looks) in (6, 7)


@pytest.mark.parametrize(
    "scores",
    [
        np.zeros((6, 50)),
        np.full((6, 50), np.nan),
        np.zeros((6, 1)),
        np.zeros((6, 0)),
        np.zeros((1, 50)),
        np.tile(np.arange(50.0), (6, 1)),
        3.7 + 1e-6 * np.linspace(0, -1, 6)[:, None] * np.ones(50),
    ],
    ids=[
        "all-ties",
        "nothing-scored",
        "one-prompt",
        "no-prompts",
        "one-evaluation",
        "same-answers",
        "float-noise",
    ],
)
def test_where_nothing_differs_nothing_is_said(scores):
    for look in degradation(scores):
        assert not look.flagged
        assert np.isnan([look.drop, look.p]).all()


def test_nine_prompts_are_too_few_to_say_anything():
    assert all(not look.flagged and np.isnan(look.p) for look in degradation(run([9, -9, -9], n=9)))
    assert np.isfinite(degradation(run([9, -9, -9], n=10))[-1].p)


def test_all_wins_do_not_blind_the_pool_score():
    """Against weak references every answer wins; the rewards still fall, and are compared with each other."""
    margin = 50.0 + run(FALLING)
    outcomes = (margin > 0).astype(float)
    assert first_flag(degradation(outcomes, pool=False, horizon=8)) is None
    assert first_flag(degradation(margin, horizon=8)) in (6, 7)


def test_outcomes_are_judged_when_there_are_no_rewards():
    wins = (run([2, 2, 2, -2, -2], prompt_sd=0.5) > 0).astype(float)
    assert first_flag(degradation(wins, pool=False, horizon=5)) == 3


def test_a_fall_within_the_tolerance_or_below_the_floor_is_not_flagged():
    scores = run([0, 0, -0.4, -0.4], n=2000)
    assert first_flag(degradation(scores, horizon=4)) == 2
    assert first_flag(degradation(scores, horizon=4, tolerance=0.2)) is None
    assert first_flag(degradation(scores, horizon=4, min_drop=0.2)) is None


def jittery(seed, t=16, n=600):
    """A healthy run whose checkpoints truly differ from one to the next."""
    return run(0.1 * np.random.default_rng([seed, 1]).normal(size=t), n=n, seed=seed)


def test_jitter_counts_as_chance_when_told_so():
    """30 healthy runs that jitter by 2 points: most alarm, few once that is counted."""
    alarms = {
        tolerance: sum(
            first_flag(quick_looks(jittery(s), horizon=16, tolerance=tolerance)) is not None
            for s in range(30)
        )
        for tolerance in (0.0, "jitter")
    }
    assert alarms[0.0] >= 25
    assert alarms["jitter"] <= 12


def test_a_collapse_does_not_excuse_itself_as_jitter():
    scores = run([*np.linspace(0, 1, 10), -1, -1, -1], n=200)
    looks = degradation(scores, horizon=13, tolerance="jitter")
    assert [look.flagged for look in looks[10:]] == [True, True, True]


def test_a_smooth_run_is_judged_almost_as_if_jitter_were_not_counted():
    scores = run([0, 0.5, 0.8, 1, 1, 1, 0.9, 0.7, 0.5, 0.3], n=200)
    plain, counted = (degradation(scores, horizon=10, tolerance=x) for x in (0.0, "jitter"))
    assert first_flag(counted) in (first_flag(plain), first_flag(plain) + 1)


def test_clusters_count_as_one_prompt_each():
    """Twenty copies of each of twelve prompts are twelve prompts, not 240."""
    few = run([0, 0, -0.7], n=12, seed=1)
    copies = np.repeat(few, 20, axis=1)
    labels = np.repeat(np.arange(12), 20)
    alone = degradation(few, horizon=3)[-1]
    clustered = degradation(copies, horizon=3, clusters=labels)[-1]
    assert (clustered.drop, clustered.low, clustered.p) == pytest.approx((alone.drop, alone.low, alone.p))
    assert degradation(copies, horizon=3)[-1].p < 0.001 < clustered.p


def test_a_run_with_an_unknown_horizon_is_judged_too():
    assert first_flag(degradation(run(FALLING, n=300))) in (6, 7)


def test_more_prompts_show_smaller_falls():
    small, large = (smallest_visible_drop(run([0] * 6, n=n), horizon=20) for n in (100, 400))
    assert 1.3 * large < small < 2 * large  # not twice: the more prompts, the more of the rest is jitter
    assert np.isnan(smallest_visible_drop(run([0])))


def test_two_levels_are_what_two_detectors_say():
    scores = run(FALLING, seed=2)
    both = Detector(levels=(0.05, 0.2), horizon=8)
    pairs = [both.add(row) for row in scores]
    np.testing.assert_equal([p[0] for p in pairs], degradation(scores, horizon=8, alpha=0.05))
    np.testing.assert_equal([p[1] for p in pairs], degradation(scores, horizon=8, alpha=0.2))


def test_a_run_too_short_to_show_its_jitter_spends_a_part():
    spent = [spent_by(horizon - 1, alpha=0.05, horizon=horizon) for horizon in range(2, 7)]
    np.testing.assert_allclose(spent, np.array([0.055, 0.2, 0.495, 1.0, 1.0]) * 0.05)


@pytest.mark.parametrize("horizon", [5, 20, 60])
def test_a_known_horizon_spends_alpha_exactly_and_later_looks_get_more(horizon):
    spent = [spent_by(t, alpha=0.05, horizon=horizon) for t in range(horizon)]
    assert spent[0] == 0
    assert spent[-1] == pytest.approx(0.05)
    assert (np.diff(spent, 2) >= -1e-15).all()


@given(st.integers(1, 2000))
def test_an_unknown_horizon_never_spends_more_than_alpha(look):
    assert 0 < spent_by(look, alpha=0.05, horizon=None) < 0.05


@given(st.integers(1, 50), st.integers(1, 2000))
def test_a_run_past_its_horizon_is_neither_deaf_nor_above_twice_its_rate(horizon, extra):
    late = spent_by(horizon + extra, alpha=0.05, horizon=horizon)
    assert spent_by(horizon + extra - 1, alpha=0.05, horizon=horizon) < late < 0.1


def test_the_budget_lets_exactly_the_spent_share_of_healthy_runs_alarm():
    rng = np.random.default_rng(0)
    budget, alarmed, one = Budget(1, 1000, 0.1), np.zeros(1000, dtype=bool), np.ones(1)
    for t in range(1, 11):
        largest = rng.normal(size=1000).astype(np.float32)
        bar = budget.bar(largest[None], 0.01 * t)
        alarmed |= largest >= bar.critical(one)
        assert abs(alarmed.sum() - 10 * t) <= 10  # the tail is fitted, and so smoother than the replicates
        assert (bar.p(np.array([2.0]), [one])[0] <= 0.1) == (bar.critical(one) < 2.0)


@pytest.mark.parametrize("ties", [False, True])
def test_just_as_many_replicates_are_spent_as_the_budget_says_whether_or_not_they_tie(ties):
    rng = np.random.default_rng(0)
    budget = Budget(1, 1000, 0.1)
    for t in range(1, 11):
        largest = np.zeros((1, 1000)) if ties else rng.normal(size=(1, 1000))
        bar = budget.bar(largest.astype(np.float32), 0.01 * t)
        assert bar.rooms[0] == pytest.approx(0.01)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"alpha": 1.5}, r"`alpha` .* got 1.5"),
        ({"horizon": 0}, r"`horizon` .* got 0"),
        ({"windows": (0,)}, r"`windows` .* got \(0,\)"),
        ({"min_drop": 2}, r"`min_drop` .* got 2"),
        ({"tolerance": -0.1}, r"`tolerance` .* got -0.1"),
        ({"clusters": np.zeros(3)}, r"`clusters` .* \(50,\); got shape \(3,\)"),
    ],
)
def test_wrong_rules_are_refused_with_the_value(arguments, message):
    with pytest.raises(ValueError, match=message):
        degradation(np.zeros((2, 50)), **arguments)


def test_scores_that_are_no_table_of_evaluations_are_refused():
    with pytest.raises(ValueError, match="one row an evaluation"):
        degradation(np.zeros(5))
    with pytest.raises(ValueError, match="pool=False"):
        degradation(np.full((2, 50), 3.0), pool=False)
    detector = Detector()
    detector.add(np.zeros(20))
    with pytest.raises(ValueError, match=r"same 20 prompts .* got 21"):
        detector.add(np.zeros(21))
