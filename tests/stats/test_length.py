"""Length control: what of a gain is length."""

import numpy as np
import pytest
from scipy import special

from rm_monitor.stats import length_controlled, share, win_probability

N = 400
REFERENCE = np.full(N, 100.0)


def run(slope, growth, *, gain=0.0, t=8, n=N, seed=0):
    """A judge that pays ``slope`` per 100 tokens, answers that grow, and a true gain; per evaluation."""
    rng = np.random.default_rng(seed)
    length = 100 + growth * np.arange(t)[:, None] + 60 * rng.normal(size=n) + 80 * rng.normal(size=(t, n))
    quality = gain * np.arange(t)[:, None] + rng.normal(size=n) + rng.normal(size=(t, n))
    return quality + slope * (length - 100) / 100, length


def gain(probability):
    return probability[-1].mean() - probability[0].mean()


def test_a_gain_by_length_alone_is_taken_back_and_told():
    margin, length = run(slope=1.0, growth=20)
    control = length_controlled(margin, length, REFERENCE)
    raw = gain(special.expit(margin))
    assert raw > 0.15
    assert control.notable
    assert abs(gain(control.probability)) < 0.4 * raw
    assert control.explained.value == pytest.approx(raw - gain(control.probability))
    assert control.slope.low > 0


def test_a_true_gain_is_left_alone_when_the_judge_does_not_look_at_length():
    margin, length = run(slope=0.0, growth=20, gain=0.2)
    control = length_controlled(margin, length, REFERENCE)
    assert not control.notable
    assert gain(control.probability) == pytest.approx(gain(special.expit(margin)), abs=0.02)
    assert abs(control.slope.value) < 0.1


def test_answers_that_do_not_grow_explain_no_gain_even_if_length_pays():
    margin, length = run(slope=1.0, growth=0, gain=0.2)
    control = length_controlled(margin, length, REFERENCE)
    assert control.slope.low > 0
    assert not control.notable


def test_equal_lengths_change_nothing():
    margin, _ = run(slope=0, growth=0)
    control = length_controlled(margin, np.full(margin.shape, 100.0), REFERENCE)
    np.testing.assert_array_equal(control.probability, win_probability(margin))
    assert (control.slope.value, control.notable) == (0.0, False)
    assert control.win_prob[-1] == share(win_probability(margin[-1]))


def test_before_the_third_evaluation_there_is_no_slope():
    margin, length = run(slope=1.0, growth=20)
    for t in (1, 2):
        control = length_controlled(margin[:t], length[:t], REFERENCE)
        assert control.slope.value == 0
        np.testing.assert_array_equal(control.probability, win_probability(margin[:t]))
    assert np.isnan(length_controlled(margin[:1], length[:1], REFERENCE).explained.value)


def test_an_unknown_score_or_length_is_no_prompt():
    margin, length = run(slope=1.0, growth=20)
    padded = [np.hstack([x, np.full((8, 50), np.nan)]) for x in (margin, length)]
    a = length_controlled(margin, length, REFERENCE)
    b = length_controlled(*padded, np.full(N + 50, 100.0))
    assert [e.n for e in b.win_prob] == [N] * 8
    assert np.isnan(b.probability[:, N:]).all()
    assert b.slope.value == pytest.approx(a.slope.value, rel=0.1)


def test_the_temperature_divides_the_margin():
    margin, length = run(slope=1.0, growth=20)
    a = length_controlled(margin, length, REFERENCE)
    b = length_controlled(3 * margin, length, REFERENCE, temperature=3)
    np.testing.assert_allclose(a.probability, b.probability)


def test_its_interval_is_that_of_refitting_on_resampled_prompts():
    margin, length = run(slope=1.0, growth=60, n=200)
    band = length_controlled(margin, length, REFERENCE[:200]).win_prob[-1]
    rng = np.random.default_rng(1)
    means = []
    spread = (length[0] - 100).std()  # frozen at the first evaluation, as documented
    for _ in range(300):
        drawn = rng.integers(0, 200, 200)
        anchor = 100 + spread / (length[0, drawn] - 100).std() * (length[:, drawn] - 100)
        means.append(length_controlled(margin[:, drawn], anchor, REFERENCE[:200], resamples=2))
    low, high = np.quantile([c.win_prob[-1].value for c in means], [0.025, 0.975])
    assert band.high - band.low == pytest.approx(high - low, rel=0.2)


def test_copies_in_a_cluster_do_not_narrow_an_interval():
    margin, length = run(slope=1.0, growth=20, n=50)
    alone = length_controlled(margin, length, REFERENCE[:50])
    copies = [np.repeat(x, 8, axis=-1) for x in (margin, length, REFERENCE[:50])]
    grouped = length_controlled(*copies, clusters=np.repeat(np.arange(50), 8))
    assert grouped.slope.value == pytest.approx(alone.slope.value)
    np.testing.assert_allclose(grouped.win_prob[-1][1:3], alone.win_prob[-1][1:3])


def test_tables_of_other_shapes_are_refused():
    with pytest.raises(ValueError, match=r"got shapes \(2, 5\), \(3, 5\) and \(5,\)"):
        length_controlled(np.zeros((2, 5)), np.zeros((3, 5)), np.zeros(5))
    with pytest.raises(ValueError, match="`temperature`"):
        length_controlled(np.zeros((2, 5)), np.zeros((2, 5)), np.zeros(5), temperature=0)
