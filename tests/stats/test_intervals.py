"""Means over prompts with intervals: laws, published numbers, coverage."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats as oracle
from scipy.special import expit

from rm_monitor import stats

unit = arrays(
    np.float64, st.integers(1, 40), elements=st.one_of(st.floats(0, 1), st.sampled_from([0, 0.5, 1, np.nan]))
)
any_mean = pytest.mark.parametrize("estimate", [stats.mean, stats.rate, stats.share])


@any_mean
@given(y=unit)
def test_an_unscored_prompt_is_left_out_not_counted_as_a_loss(estimate, y):
    known = y[~np.isnan(y)]
    np.testing.assert_equal(tuple(estimate(y)), tuple(estimate(known)))
    assert estimate(y).n == known.size


@any_mean
@given(y=unit, seed=st.integers(0, 99))
def test_the_order_of_the_prompts_does_not_matter(estimate, y, seed):
    shuffled = np.random.default_rng(seed).permutation(y)
    np.testing.assert_allclose(estimate(shuffled), estimate(y), atol=1e-9)


@any_mean
@given(y=unit)
def test_the_interval_contains_the_mean(estimate, y):
    e = estimate(y)
    assert np.isnan(e.value) or np.isnan(e.low) or e.low - 1e-12 <= e.value <= e.high + 1e-12


@pytest.mark.parametrize("estimate", [stats.rate, stats.share])
@given(y=unit)
def test_intervals_of_shares_stay_in_the_unit_range_and_always_exist(estimate, y):
    e = estimate(y)
    assert e.n == 0 or 0 <= e.low <= e.high <= 1


@any_mean
@given(y=unit)
def test_clusters_of_one_prompt_each_change_nothing(estimate, y):
    np.testing.assert_allclose(estimate(y, clusters=np.arange(y.size)), estimate(y), atol=1e-9)


@any_mean
def test_every_prompt_twice_in_a_cluster_gives_the_interval_of_the_single_prompts(estimate):
    y = np.random.default_rng(0).uniform(size=30)
    twice = estimate(np.repeat(y, 2), clusters=np.repeat(np.arange(30), 2))
    few = 0.02 if estimate is stats.rate else 1e-9  # between clusters the spread is estimated: t, not z
    np.testing.assert_allclose(twice[:3], estimate(y)[:3], atol=few)


@pytest.mark.parametrize("clusters", [5, 10, 20])
def test_wilsons_interval_holds_with_few_clusters(clusters):
    """600 samples: it should miss 30 of them (sd 5.3); with z and 5 clusters it missed 85."""
    rng = np.random.default_rng(clusters)
    truth = (1 / (1 + np.exp(-rng.normal(size=400_000)))).mean()
    labels, missed = np.repeat(np.arange(clusters), 10), 0
    for _ in range(600):
        chance = 1 / (1 + np.exp(-rng.normal(size=clusters)))
        won = (rng.uniform(size=(clusters, 10)) < chance[:, None]).astype(float).ravel()
        e = stats.rate(won, clusters=labels)
        missed += not e.low <= truth <= e.high
    assert 14 <= missed <= 46


@any_mean
def test_nothing_scored_is_unknown_with_n_0(estimate):
    e = estimate(np.full(5, np.nan))
    assert np.isnan(e[:3]).all()
    assert e.n == 0


def test_a_mean_has_the_textbook_t_interval():
    x = np.random.default_rng(1).normal(size=12)
    low, high = oracle.t.interval(0.9, 11, loc=x.mean(), scale=oracle.sem(x))
    np.testing.assert_allclose(stats.mean(x, level=0.9)[:3], (x.mean(), low, high))


def test_the_mean_of_one_prompt_has_no_interval():
    e = stats.mean(np.array([3.0]))
    assert e.value == 3.0
    assert np.isnan([e.low, e.high]).all()


@pytest.mark.parametrize(("wins", "n"), [(0, 10), (7, 10), (10, 10), (1, 1), (0, 1), (55, 100)])
def test_wins_and_losses_have_wilsons_interval(wins, n):
    y = np.repeat([1.0, 0.0], [wins, n - wins])
    expected = oracle.binomtest(wins, n).proportion_ci(method="wilson")
    np.testing.assert_allclose(stats.rate(y)[1:3], (expected.low, expected.high), atol=1e-12)


def test_one_win_is_not_certainty():
    assert stats.rate(np.ones(1)).low == pytest.approx(0.2065, abs=1e-4)


def test_all_ties_are_shown_with_the_width_of_as_many_outcomes():
    e = stats.rate(np.full(100, 0.5))
    assert (e.value, round(e.high - e.low, 2)) == (0.5, 0.19)
    assert tuple(stats.share(np.full(100, 0.5))) == tuple(e)


def test_ties_narrow_the_interval_because_they_vary_less():
    rng = np.random.default_rng(0)
    ties = rng.choice([0.0, 0.5, 1.0], 400)
    plain = rng.choice([0.0, 1.0], 400)
    width = lambda e: e.high - e.low  # noqa: E731
    assert width(stats.rate(ties)) < 0.9 * width(stats.rate(plain))


def test_saturated_probabilities_keep_a_finite_interval():
    for value in (0.0, 1.0):
        e = stats.share(np.full(50, value))
        assert e.value == value
        assert 0.05 < e.high - e.low < 0.1


def test_a_change_is_the_mean_of_the_differences_where_both_are_known():
    a = np.array([0.1, 0.5, np.nan, 0.2])
    b = np.array([0.3, 0.4, 0.9, np.nan])
    e = stats.paired_change(a, b)
    assert (e.value, e.n) == (pytest.approx(0.05), 2)


@given(unit, st.integers(0, 99))
def test_a_change_turns_its_sign_with_its_sides_and_is_zero_to_itself(a, seed):
    b = np.random.default_rng(seed).permutation(a)
    there, back = stats.paired_change(a, b), stats.paired_change(b, a)
    np.testing.assert_allclose(
        [there.value, there.low, there.high], [-back.value, -back.high, -back.low], atol=1e-12
    )
    known = ~np.isnan(a)
    if known.any():
        assert stats.paired_change(a, a).value == 0.0


def test_pairing_removes_what_the_prompts_have_in_common():
    rng = np.random.default_rng(0)
    prompt, noise = rng.normal(size=200), 0.1 * rng.normal(size=(2, 200))
    paired = stats.paired_change(prompt + noise[0], prompt + noise[1])
    assert paired.high - paired.low < 0.1 * (stats.mean(prompt).high - stats.mean(prompt).low) * 2


def test_win_rate_and_win_probability_are_means_of_their_per_prompt_values():
    margin = np.array([1.0, -2.0, 0.0, np.nan])
    assert stats.win_rate(margin) == stats.rate(stats.outcome(margin))
    assert stats.win_prob(margin, temperature=2.0) == stats.share(
        stats.win_probability(margin, temperature=2.0)
    )


@pytest.mark.parametrize("truth", [0.5, 0.9])
def test_intervals_cover_the_truth_as_often_as_they_say(truth):
    """1500 draws of 64 prompts: a 95 % interval misses 75 times (sd 8.4)."""
    rng = np.random.default_rng(0)
    spread = rng.beta(4 * truth, 4 * (1 - truth), (1500, 64))
    wins = rng.uniform(size=(1500, 64)) < truth
    for estimate, draws in ((stats.share, spread), (stats.rate, wins.astype(float))):
        covered = np.mean([e.low <= truth <= e.high for e in map(estimate, draws)])
        assert 0.93 <= covered <= 0.975


@pytest.mark.parametrize("level", [0.0, 1.0, 95])
def test_a_level_outside_0_1_is_refused_with_its_value(level):
    with pytest.raises(ValueError, match=rf"`level` .* got {level}"):
        stats.mean(np.zeros(3), level=level)


def test_values_outside_0_1_are_refused_as_rates():
    with pytest.raises(ValueError, match=r"\[0, 1\], got 2"):
        stats.rate(np.array([0.0, 2.0]))
    with pytest.raises(ValueError, match=r"\[0, 1\], got -1"):
        stats.share(np.array([0.0, -1.0]))


def test_prompts_in_other_numbers_are_refused():
    with pytest.raises(ValueError, match=r"same prompts .* \(3,\) and \(4,\)"):
        stats.paired_change(np.zeros(3), np.zeros(4))
    with pytest.raises(ValueError, match=r"`clusters` .* \(2,\)"):
        stats.mean(np.zeros(3), clusters=np.zeros(2))
    with pytest.raises(ValueError, match="one value a prompt"):
        stats.mean(np.zeros((3, 2)))


@pytest.mark.parametrize("n", [16, 64])
def test_a_band_near_one_holds_although_few_prompts_show_its_tail(n):
    rng = np.random.default_rng(0)
    truth = 1 - expit(-6 + 2 * rng.normal(size=1_000_000)).mean()
    bands = [stats.share(1 - expit(-6 + 2 * rng.normal(size=n))) for _ in range(400)]
    assert all(b.low <= b.value <= b.high for b in bands)
    assert np.mean([b.low <= truth <= b.high for b in bands]) >= 0.93
