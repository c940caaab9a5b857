"""A warning is settled on fresh prompts, and the alarm keeps its rate."""

from copy import deepcopy

import numpy as np
import pytest
from scipy import special

from rm_monitor.stats import Detector, retest
from rm_monitor.stats.fresh_prompts import FreshBudget


def run(levels, n=64, seed=0):
    rng = np.random.default_rng(seed)
    return np.asarray(levels, dtype=float)[:, None] + rng.normal(size=n) + rng.normal(size=(len(levels), n))


def raised(levels, *, n, seed, alpha, fresh):
    """Whether a run of these levels raises an alarm, its warnings settled on the fresh rows."""
    detector = Detector(
        levels=(alpha, 0.4),
        horizon=len(levels),
        confirm_on_warn=True,
        replicates=1000,
        min_drop=0,
        tolerance=0,
    )
    for t, row in enumerate(run(levels, n=n, seed=seed)):
        alarm, warning = detector.add(row)
        if alarm.flagged:
            return True
        if np.isfinite(warning.fresh_level):
            best = int(detector.table.value[:-1].argmax())
            if retest(fresh[best], fresh[t], level=warning.fresh_level).confirmed:
                return True
    return False


def test_the_p_value_is_that_of_a_paired_t_test_on_the_fresh_prompts():
    a, b = run([0.4, 0], n=30)
    falls = special.expit(a - b) - 0.5
    t = falls.mean() / (falls.std(ddof=1) / np.sqrt(30))
    result = retest(a, b, level=0.2)
    assert result.p == pytest.approx(special.stdtr(29, -t))
    assert result.drop.value == pytest.approx(falls.mean())
    assert result.confirmed == (result.p <= 0.2)


def test_the_better_one_is_never_confirmed_to_have_fallen():
    a, b = run([0, 1], n=100)
    assert not retest(a, b, level=0.5).confirmed
    assert retest(b, a, level=0.01).confirmed


def test_outcomes_and_clusters_and_a_tolerance_are_taken_into_account():
    a, b = run([1, 0], n=400)
    wins = [(x > 0).astype(float) for x in (a, b)]
    assert retest(*wins, level=0.01, pool=False).drop.value == pytest.approx(np.mean(wins[0] - wins[1]))
    assert retest(a, b, level=0.01).confirmed
    assert not retest(a, b, level=0.01, tolerance=0.3).confirmed
    copies = [np.repeat(x[:12], 30) for x in (a, b)]
    alone = retest(a[:12], b[:12], level=0.1)
    assert retest(*copies, level=0.1, clusters=np.repeat(np.arange(12), 30)).p == pytest.approx(alone.p)


def test_unknown_and_equal_answers_confirm_nothing():
    same = retest(np.ones(50), np.ones(50), level=0.5)
    assert (same.confirmed, same.p) == (False, 1.0)
    few = retest(np.where(np.arange(50) < 9, 9.0, np.nan), np.zeros(50), level=0.5)
    assert (few.confirmed, few.drop.n) == (False, 9)


def test_levels_add_up_over_healthy_runs_to_the_budget():
    rng = np.random.default_rng(0)
    z = rng.normal(size=(4, 50_000)).astype(np.float32)
    budget, given, asked = FreshBudget(1, 50_000), np.zeros(50_000), np.zeros(50_000, dtype=int)
    one = np.ones(1)
    for look, largest in enumerate(z, 1):
        may = (largest >= 1.0) & (asked < 2)
        bar = np.nan  # solved from the levels given to runs that ask the same
        for seen in np.linspace(1.0, 4.0, 7):
            level = deepcopy(budget).level(largest[None], float(seen), 1.0, 0.01 * look, weight=one)
            if 0 < level < 0.5:
                bar = (special.ndtri(1 - level) + seen) / np.sqrt(2)
        budget.level(largest[None], -np.inf, 1.0, 0.01 * look, weight=one)
        given[may] += np.minimum(special.ndtr(largest[may] - bar * np.sqrt(2)), 0.5)
        asked += may
    assert given.mean() == pytest.approx(0.04, abs=0.0005)


def test_a_run_is_asked_at_its_first_two_warnings_only():
    detector = Detector(levels=(0.05, 0.2), horizon=8, confirm_on_warn=True, tolerance=0)
    looks = [detector.add(row)[1] for row in run([0, 2, 0, 0, 0, 0, 0, 0], n=100)]
    asked = [t for t, look in enumerate(looks) if np.isfinite(look.fresh_level)]
    assert asked == [2, 3]
    assert all(0 < looks[t].fresh_level <= 0.5 for t in asked)
    assert all(look.flagged for look in looks[2:])


def test_healthy_runs_raise_the_alarm_as_rarely_as_stated():
    """150 flat runs at alpha .2: 30 alarms expected at most (sd 4.9)."""
    alarms = sum(
        raised([0] * 6, n=40, seed=s, alpha=0.2, fresh=run([0] * 6, n=40, seed=s + 10**6)) for s in range(150)
    )
    assert alarms <= 45


def test_fresh_prompts_find_more_falls():
    levels = [0, 0.3, 0.5, 0.5, 0.3, 0.1, -0.1]
    alone = settled = 0
    for s in range(60):
        scores = run(levels, n=50, seed=s)
        detector = Detector(levels=(0.1,), horizon=7, replicates=1000, tolerance=0)
        alone += any(detector.add(row)[0].flagged for row in scores)
        settled += raised(levels, n=50, seed=s, alpha=0.1, fresh=run(levels, n=50, seed=s + 10**6))
    assert settled >= alone + 5


@pytest.mark.parametrize("level", [0.0, 0.6, float("nan")])
def test_a_level_out_of_range_is_refused(level):
    with pytest.raises(ValueError, match="`level`"):
        retest(np.zeros(20), np.zeros(20), level=level)


def test_wrong_shapes_and_levels_are_refused():
    with pytest.raises(ValueError, match=r"same prompts .* \(20,\) and \(21,\)"):
        retest(np.zeros(20), np.zeros(21), level=0.1)
    with pytest.raises(ValueError, match="`levels` are the rate of the alarm"):
        Detector(levels=(0.05,), confirm_on_warn=True)
