"""Laws that hold for every run, whatever its scores."""

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from rm_monitor.stats import Detector, best, confirm, degradation, length_controlled, win_prob, win_rate

few = settings(
    max_examples=10, deadline=None, phases=(Phase.explicit, Phase.generate)
)  # any seed is as simple
seeds = st.integers(0, 10_000)


def run(seed, t=6, n=40, *, ties=0.3, missing=0.0):
    """A run that may rise, fall or jitter, with exact ties and unknown scores."""
    rng = np.random.default_rng(seed)
    level = rng.normal(size=(t, 1)) * rng.choice([0.0, 0.3, 1.5])
    scores = level + rng.normal(size=n) + rng.normal(size=(t, n))
    scores = np.where(rng.uniform(size=scores.shape) < ties, 0.0, scores)
    return np.where(rng.uniform(size=scores.shape) < missing, np.nan, scores)


def same(a, b):
    """Whether looks agree but for rounding."""
    for x, y in zip(a, b, strict=True):
        for name in ("flagged", "against", "now", "n"):
            assert getattr(x, name) == getattr(y, name)
        for name in ("drop", "low", "p", "spent", "critical"):
            np.testing.assert_allclose(getattr(x, name), getattr(y, name), rtol=1e-4, atol=1e-6)


@given(seeds)
@few
def test_swapping_sides_mirrors_levels_and_their_bands(seed):
    margin = run(seed, missing=0.1)[0]
    for level in (win_rate, win_prob):
        a, b = level(margin), level(-margin)
        np.testing.assert_allclose([a.value, a.low, a.high], [1 - b.value, 1 - b.high, 1 - b.low], atol=1e-9)
        assert a.n == b.n


@given(seeds)
@few
def test_a_run_read_backwards_falls_where_it_rose(seed):
    scores = run(seed, t=2)
    there, back = degradation(scores, min_drop=0)[-1], degradation(scores[::-1], min_drop=0)[-1]
    np.testing.assert_allclose(there.drop, -back.drop, atol=1e-12)


@given(seed=seeds)
@few
def test_adding_a_constant_per_prompt_changes_no_look(seed):
    scores = run(seed, missing=0.05)
    shifted = scores + np.random.default_rng(seed).normal(size=40).round(2)
    same(degradation(scores), degradation(shifted))


@given(seeds)
@few
def test_adding_a_constant_per_prompt_changes_no_choice_of_the_best(seed):
    scores = run(seed)
    a, b = best(scores), best(scores + np.random.default_rng(seed).normal(size=40))
    assert (a.index, a.tied) == (b.index, b.tied)
    np.testing.assert_allclose(a.pool, b.pool)


@given(seeds)
@few
def test_permuting_the_prompts_changes_no_fall_and_no_best(seed):
    scores = run(seed, missing=0.05)
    order = np.random.default_rng(seed).permutation(40)
    for a, b in zip(degradation(scores), degradation(scores[:, order]), strict=True):
        assert (a.n, a.spent) == (b.n, b.spent)
        np.testing.assert_allclose(a.drop, b.drop, atol=1e-12)
    a, b = best(scores), best(scores[:, order])
    assert a.index == b.index
    assert a.p_best == pytest.approx(b.p_best, abs=0.05)


@given(seed=seeds)
@few
def test_prompts_that_were_never_scored_count_for_nothing(seed):
    scores = run(seed)
    padded = np.hstack([scores, np.full((6, 15), np.nan)])
    same(degradation(scores), degradation(padded))
    assert best(padded).index == best(scores).index


@given(seeds, st.integers(1, 5))
@few
def test_a_replayed_run_ends_where_the_unbroken_one_does(seed, cut):
    scores = run(seed, missing=0.1)
    unbroken = Detector(levels=(0.05, 0.2), horizon=6, confirm_on_warn=True)
    looks = [unbroken.add(row) for row in scores]
    broken = Detector(levels=(0.05, 0.2), horizon=6, confirm_on_warn=True)
    for row in scores[:cut]:
        broken.add(row)  # and the process dies
    resumed = Detector(levels=(0.05, 0.2), horizon=6, confirm_on_warn=True)
    np.testing.assert_equal([resumed.add(row) for row in scores], looks)
    np.testing.assert_equal([broken.add(row) for row in scores[cut:]], looks[cut:])


@pytest.mark.parametrize("n", [1, 9, 40])
@pytest.mark.parametrize("outcome", [0.0, 0.5, 1.0], ids=["all-losses", "all-ties", "all-wins"])
def test_runs_without_a_difference_raise_nothing_and_have_a_best(outcome, n):
    scores = np.full((5, n), outcome)
    for pool in (True, False):
        assert not any(look.flagged for look in degradation(scores, pool=pool))
        choice = best(scores, pool=pool)
        assert (choice.index, choice.tied) == (0, (1, 2, 3, 4))
    level = win_rate(scores[0] - 0.5)
    assert level.value == outcome
    assert level.low < level.high


def test_one_prompt_gives_a_level_and_no_alarm():
    scores = run(0, n=1, ties=0)
    assert all(not look.flagged and np.isnan(look.p) for look in degradation(scores))
    assert win_prob(scores[0]).n == 1
    assert length_controlled(scores, scores + 5, np.array([5.0])).win_prob[0].n == 1
    settled = confirm(scores, lambda rows, stage: (scores[list(rows)], scores[list(rows)]))
    assert settled.value.n == 1
    assert np.isnan(settled.value.low)


@given(seeds)
@few
def test_a_higher_alpha_flags_whatever_a_lower_one_does(seed):
    scores = run(seed)
    for low, high in zip(degradation(scores, alpha=0.02), degradation(scores, alpha=0.2), strict=True):
        assert high.flagged or not low.flagged or high.p > 0.2  # a spent replicate may be missed, not created


@given(seeds, st.floats(0.25, 4))
@few
def test_scaling_rewards_and_temperature_together_changes_nothing(seed, scale):
    scores = run(seed)
    same(degradation(scores), degradation(scale * scores, temperature=scale))
