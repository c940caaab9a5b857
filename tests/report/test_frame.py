"""Where points lie in a picture."""

import numpy as np
import pytest

from rm_monitor.report.frame import Frame


@pytest.mark.parametrize("seed", range(8))
def test_many_points_lie_where_each_alone_does_to_the_last_digit(seed):
    rng = np.random.default_rng(seed)
    low, high = sorted(rng.normal(size=2) * 10.0 ** (seed - 4))
    frame = Frame(40, 8, 214, 108, (0, float(rng.integers(1, 4000))), (low, high))
    steps = rng.integers(-5, 4000, 500).tolist()
    values = rng.uniform(low - 1, high + 1, 500).round(seed).tolist()  # ties in the last digit among them
    assert list(frame.spots(steps, values)) == [frame.at(x, y) for x, y in zip(steps, values, strict=True)]


def test_one_step_and_one_value_lie_in_the_middle():
    frame = Frame(0, 0, 10, 4, (7, 7), (0.3, 0.3))
    assert list(frame.spots([7, 7], [0.3, 0.3])) == [(5.0, 2.0)] * 2 == [frame.at(7, 0.3)] * 2
