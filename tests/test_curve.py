"""Which points of a run may be compared: `Curve` is a sequence of points that knows."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rm_monitor.curve.curve import Curve
from rm_monitor.types import EvalPoint


@st.composite
def points(draw):
    names = st.sets(st.sampled_from(["reward", "win_prob", "length"]), max_size=3)
    found, step = [], 0
    for _ in range(draw(st.integers(0, 7))):
        step += draw(st.integers(1, 50))
        size = draw(st.sampled_from([2, 3]))
        status = draw(st.sampled_from(["ok", "ok", "ok", "partial", "failed", "skipped"]))
        values = (
            {name: np.arange(size) / 7 + step for name in draw(names)} if status in ("ok", "partial") else {}
        )
        segment = draw(st.sampled_from(["a", "a", "b"]))
        found.append(EvalPoint(step=step, segment=segment, status=status, values=values))
    return found


@given(points())
def test_it_is_a_sequence_like_the_points_it_was_made_of(made):
    curve = Curve(made)
    assert list(curve) == made
    assert curve == tuple(made)
    assert len(curve) == len(made)
    assert curve[1:] == made[1:]
    assert isinstance(curve[1:], Curve)
    assert curve.latest is (made[-1] if made else None)
    assert Curve(curve) == curve
    for point in made:
        assert curve.at(point.step) is point
    assert curve.at(-1) is None


@given(points())
def test_segments_take_the_curve_apart(made):
    curve = Curve(made)
    parts = [curve.segment(name) for name in sorted({p.segment for p in made})]
    assert sorted(p.step for part in parts for p in part) == [p.step for p in made]
    assert curve.segment() == [p for p in made if p.segment == made[-1].segment]


@given(points(), st.sampled_from(["win_prob", "reward", "length"]))
def test_points_that_are_compared_are_whole_alike_and_of_one_metric(made, metric):
    curve = Curve(made)
    compared, scores = curve.comparable(metric), curve.scores(metric)
    assert scores.rows.shape[0] == len(compared)
    for point, row in zip(compared, scores.rows, strict=True):
        assert point.status == "ok"
        assert point.segment == curve.segment_name
        np.testing.assert_array_equal(point.values[scores.name], row)
    assert scores.name == ("reward" if scores.pool else metric)
    assert compared.comparable(metric) == compared, "to ask twice changes nothing"


@given(points(), st.sampled_from(["win_prob", "reward", "length"]))
def test_the_latest_whole_point_with_a_number_is_never_left_out(made, metric):
    curve = Curve(made)
    whole = [p for p in curve.segment() if p.status == "ok" and metric in p.values]
    if whole:
        assert curve.holding(metric)[-1] is whole[-1]
    else:
        assert not curve.holding(metric)


def test_one_point_without_rewards_makes_all_be_judged_by_the_metric():
    rows = {"reward": np.zeros(2), "win_prob": np.full(2, 0.5)}
    made = [EvalPoint(step=0, values=rows), EvalPoint(step=1, values={"win_prob": np.ones(2)})]
    scores = Curve(made).scores("win_prob")
    assert (scores.name, scores.pool) == ("win_prob", False)
    np.testing.assert_array_equal(scores.rows, [[0.5, 0.5], [1, 1]])


def test_a_curve_cannot_be_changed():
    with pytest.raises(TypeError):
        Curve([EvalPoint(step=0)])[0] = EvalPoint(step=1)
    with pytest.raises(TypeError, match="unhashable"):
        hash(Curve())
