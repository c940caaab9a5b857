"""Outcome and probability of a comparison."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from rm_monitor.stats import outcome, settled, tie_width, win_probability

margins = arrays(
    np.float64,
    st.integers(1, 30),
    elements=st.one_of(st.floats(-50, 50), st.just(0.0), st.just(np.nan)),
)


@given(margins)
def test_swapping_sides_turns_wins_into_losses(margin):
    np.testing.assert_array_equal(outcome(margin) + outcome(-margin), np.where(np.isnan(margin), np.nan, 1.0))
    np.testing.assert_allclose(
        win_probability(margin) + win_probability(-margin), np.where(np.isnan(margin), np.nan, 1.0)
    )


rewards = st.floats(-1e6, 1e6).map(lambda x: x if abs(x) > 1e-100 else 0.0)
noises = st.one_of(st.just(0.0), st.floats(1e-12, 10))


@given(rewards, rewards, noises)
def test_a_tie_does_not_know_which_side_is_which(a, b, noise):
    assert settled(a, b, noise=noise) == -settled(b, a, noise=noise)


@given(rewards, rewards, noises, st.integers(-60, 60))
def test_a_tie_does_not_know_the_unit_of_the_scores(a, b, noise, power):
    unit = 2.0**power  # exact in floats
    assert settled(a * unit, b * unit, noise=noise * unit) == settled(a, b, noise=noise) * unit


@given(st.lists(st.tuples(rewards, rewards), min_size=1, max_size=8), noises)
def test_a_pair_is_judged_alike_whatever_stands_beside_it(pairs, noise):
    a, b = np.array(pairs).T
    alone = [float(settled(x, y, noise=noise)) for x, y in pairs]
    np.testing.assert_array_equal(settled(a, b, noise=noise), alone)


@given(rewards, rewards, noises)
def test_what_differs_by_more_than_the_width_keeps_its_difference(a, b, noise):
    left = settled(a, b, noise=noise)
    assert left == (0.0 if abs(a - b) <= tie_width(a, b, noise=noise) else a - b)


@given(rewards, noises)
def test_what_is_not_known_ties_with_nothing(a, noise):
    for unknown in (np.nan, np.inf, -np.inf):
        assert np.isnan(settled(a, unknown, noise=noise))


@pytest.mark.parametrize("noise", [-1e-9, np.nan])
def test_noise_that_is_no_size_is_refused(noise):
    with pytest.raises(ValueError, match="`noise`"):
        settled(1.0, 2.0, noise=noise)


@given(margins)
def test_an_unknown_margin_stays_unknown_and_no_other_does(margin):
    np.testing.assert_array_equal(np.isnan(outcome(margin)), np.isnan(margin))
    np.testing.assert_array_equal(np.isnan(win_probability(margin)), np.isnan(margin))


@given(margins)
def test_the_likelier_side_is_the_one_that_wins(margin):
    likely = np.sign(win_probability(margin) - 0.5)
    big = np.abs(margin) > 1e-9
    np.testing.assert_array_equal(likely[big], np.sign(outcome(margin) - 0.5)[big])


def test_an_infinite_margin_is_unknown_because_one_side_was_not_scored():
    assert np.isnan(outcome(np.array([np.inf, -np.inf]))).all()
    assert np.isnan(win_probability(np.array([np.inf, -np.inf]))).all()


def test_margins_up_to_the_tie_width_are_ties():
    np.testing.assert_array_equal(outcome(np.array([0.1, -0.1, 0.11]), tie=0.1), [0.5, 0.5, 1.0])


def test_temperature_divides_the_margin():
    assert win_probability(np.array([2.0]), temperature=2.0)[0] == pytest.approx(1 / (1 + np.exp(-1)))


def test_a_negative_tie_width_is_refused_with_its_value():
    with pytest.raises(ValueError, match=r"`tie` .* got -1"):
        outcome(np.zeros(1), tie=-1)


@pytest.mark.parametrize("bad", [0.0, -1.0, np.nan, np.inf])
def test_a_temperature_that_is_not_positive_is_refused(bad):
    with pytest.raises(ValueError, match="`temperature`"):
        win_probability(np.zeros(1), temperature=bad)
