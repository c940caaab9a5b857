"""Intervals that hold at every look."""

import numpy as np
import pytest
from scipy.special import ndtri

from rm_monitor import stats


@pytest.mark.parametrize(
    ("looks", "published"),
    [(1, 1.960), (2, 1.977), (3, 2.004), (4, 2.024), (5, 2.040), (8, 2.072), (10, 2.087)],
)
def test_the_last_bar_is_the_published_one(looks, published):
    """Jennison and Turnbull, Group Sequential Methods (2000), table 2.3, alpha = .05."""
    levels = stats.repeated_levels([32 * (i + 1) for i in range(looks)])
    bars = ndtri((1 + levels) / 2)
    assert bars[-1] == pytest.approx(published, abs=6e-4)
    assert bars == pytest.approx(bars[-1] * np.sqrt(looks / np.arange(1, looks + 1)), rel=1e-6)


def test_all_intervals_of_a_sample_hold_together_though_one_stops_at_the_worst_look():
    rng = np.random.default_rng(5)
    sizes, truth, samples = (30, 70, 100, 160), 0.3, 4000
    levels = stats.repeated_levels(sizes, level=0.9)
    x = rng.exponential(size=(samples, sizes[-1])) ** 0.5
    x += truth - x.mean()
    missed = naive = 0
    for row in x:
        ends = [stats.mean(row[:n], level=float(level))[1:3] for n, level in zip(sizes, levels)]
        missed += any(not low <= truth <= high for low, high in ends)
        naive += any(not e.low <= truth <= e.high for e in (stats.mean(row[:n], level=0.9) for n in sizes))
    assert missed / samples == pytest.approx(0.1, abs=0.02)
    assert naive / samples > 0.18  # what stopping at will does to plain intervals


@pytest.mark.parametrize("wrong", [[], [0, 3], [5, 5], [7, 3]])
def test_looks_that_do_not_grow_are_refused(wrong):
    with pytest.raises(ValueError, match="rising"):
        stats.repeated_levels(wrong)
