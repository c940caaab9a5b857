"""A temperature fitted on labelled pairs makes stated probabilities true."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.special import expit

from rm_monitor.stats import fit_temperature, reliability


def labelled(n, *, temperature, seed=0):
    """Margins of chosen minus rejected by a model whose differences are ``temperature`` times too large."""
    rng = np.random.default_rng(seed)
    log_odds = rng.normal(size=n) * 2
    return temperature * np.where(rng.random(n) < expit(log_odds), log_odds, -log_odds)


@pytest.mark.parametrize("temperature", [0.3, 1.0, 7.0])
def test_the_temperature_of_a_bradley_terry_model_is_found(temperature):
    found = fit_temperature(labelled(20_000, temperature=temperature))
    assert found.temperature.value == pytest.approx(temperature, rel=0.05)
    assert found.temperature.low < temperature < found.temperature.high
    assert found.temperature.n == 20_000


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000))
def test_no_other_temperature_is_likelier(seed):
    margin = labelled(200, temperature=2.0, seed=seed)
    brute = minimize_scalar(
        lambda log_t: np.logaddexp(0, -margin / np.exp(log_t)).sum(), bounds=(-5, 8), method="bounded"
    )
    assert np.log(fit_temperature(margin).temperature.value) == pytest.approx(brute.x, abs=1e-3)


@settings(max_examples=25, deadline=None)
@given(st.floats(1e-6, 1e6))
def test_stretching_the_rewards_stretches_the_temperature(factor):
    margin = labelled(300, temperature=1.0)
    one, other = fit_temperature(margin), fit_temperature(margin * factor)
    np.testing.assert_allclose(other.temperature[:3], np.multiply(one.temperature[:3], factor), rtol=1e-6)
    assert other.after.nll == pytest.approx(one.after.nll)


def test_the_interval_holds_the_truth_nineteen_times_of_twenty():
    held = 0
    for seed in range(400):
        t = fit_temperature(labelled(150, temperature=2.0, seed=seed)).temperature
        held += t.low <= 2.0 <= t.high
    assert 0.925 <= held / 400 <= 0.975


def test_an_overconfident_model_is_more_truthful_on_pairs_it_was_not_fitted_on():
    found = fit_temperature(labelled(2000, temperature=5.0))
    assert found.before.error > 0.15
    assert found.after.error < 0.05
    assert found.after.brier < found.before.brier
    assert found.after.nll < found.before.nll


@pytest.mark.parametrize(
    "margin",
    [[], [np.nan], [1.0, 2.0, 3.0], [-1.0, -2.0, 0.5], [0.0, 0.0]],
    ids=["nothing", "unscored", "never contradicts", "contradicts", "collapsed"],
)
def test_where_no_temperature_fits_it_is_unknown(margin):
    found = fit_temperature(np.array(margin, dtype=float))
    assert np.isnan(found.temperature[:3]).all()
    assert np.isnan(found.after.nll)


def test_unscored_pairs_are_left_out():
    margin = labelled(100, temperature=1.0)
    holes = np.insert(margin, [0, 50, 100], np.nan)
    assert fit_temperature(holes).temperature == fit_temperature(margin).temperature


def test_true_probabilities_have_no_error_and_a_coin_says_nothing():
    rng = np.random.default_rng(0)
    p = rng.random(200_000)
    true = np.where(rng.random(p.size) < p, p, 1 - p)
    assert reliability(true).error < 0.01
    coin = reliability(np.full(10, 0.5))
    assert (coin.error, coin.brier, coin.nll) == pytest.approx((0, 0.25, np.log(2)))


def test_reliability_of_two_bins_worked_by_hand():
    found = reliability(np.array([0.9, 0.9, 0.9, 0.1, 0.6, 0.4]))
    # confidence .9: said .9, right 3 of 4; confidence .6: said .6, right 1 of 2
    assert found.error == pytest.approx((4 * 0.15 + 2 * 0.1) / 6)
    assert found.counts.sum() == 6
    assert found.brier == pytest.approx((3 * 0.01 + 0.81 + 0.16 + 0.36) / 6)


def test_only_one_number_a_pair_is_taken():
    with pytest.raises(ValueError, match=r"`margin` is \(n,\)"):
        fit_temperature(np.zeros((2, 2)))
