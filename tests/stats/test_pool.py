"""The pool score and the tables it makes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from rm_monitor.stats import pool_scores, pool_temperature
from rm_monitor.stats.paired import effects, groups
from rm_monitor.stats.pool import Pool

tables = arrays(
    np.float64,
    st.tuples(st.integers(1, 6), st.integers(1, 8)),
    elements=st.one_of(st.floats(-20, 20), st.just(np.nan)),
)


def by_hand(scores, temperature=1.0):
    """The definition, cell by cell."""
    q = np.full(scores.shape, np.nan)
    for s, i in np.ndindex(scores.shape):
        others = [
            1 / (1 + np.exp(-(scores[s, i] - x) / temperature)) for x in scores[:, i] if not np.isnan(x)
        ]
        if not np.isnan(scores[s, i]):
            q[s, i] = np.mean(others)
    return q


@given(tables, st.floats(0.3, 3))
def test_it_is_the_mean_chance_to_beat_the_runs_own_answers(scores, temperature):
    np.testing.assert_allclose(pool_scores(scores, temperature), by_hand(scores, temperature), atol=2e-4)


@given(tables)
def test_adding_rows_one_by_one_gives_the_same_as_all_at_once(scores):
    pool = Pool()
    for t, row in enumerate(scores):
        pool.add(row)
        np.testing.assert_array_equal(pool.scores(), pool_scores(scores[: t + 1]))


@given(tables)
def test_turning_rewards_into_costs_turns_the_scores_around(scores):
    np.testing.assert_allclose(pool_scores(-scores), 1.0 - pool_scores(scores), atol=1e-12)


@given(tables, st.floats(-5, 5))
def test_what_a_prompt_adds_to_all_its_scores_cancels(scores, constant):
    np.testing.assert_allclose(pool_scores(scores + constant), pool_scores(scores), atol=5e-4)


def test_a_prompt_scored_throughout_averages_one_half():
    q = pool_scores(np.random.default_rng(0).normal(size=(7, 30)))
    np.testing.assert_allclose(q.mean(axis=0), 0.5)


def test_differences_within_float_noise_are_exact_ties():
    """A collapsed reward model that says 3.7 to everything must not draw a curve."""
    rng = np.random.default_rng(0)
    noise = 1e-6 * rng.normal(size=(5, 100)) - 1e-6 * np.arange(5)[:, None]
    np.testing.assert_array_equal(pool_scores(3.7 + noise), 0.5)


def test_one_enormous_score_does_not_turn_the_others_into_ties():
    scores = np.random.default_rng(0).normal(size=(3, 20))
    wild = scores.copy()
    wild[0, 0] = 1e9
    np.testing.assert_array_equal(pool_scores(wild)[:, 1:], pool_scores(scores)[:, 1:])


def test_a_temperature_is_fitted_to_the_spread_of_the_rewards():
    rewards = np.random.default_rng(0).normal(size=2000)
    assert pool_temperature(rewards * 40) == pytest.approx(40 * pool_temperature(rewards))
    assert pool_temperature(rewards) == pytest.approx(0.61, abs=0.05)
    assert pool_temperature(np.full(3, np.nan)) == 1.0


def test_a_table_of_the_wrong_shape_is_refused():
    with pytest.raises(ValueError, match=r"one row an evaluation .* \(3,\)"):
        pool_scores(np.zeros(3))


@given(tables)
def test_complete_tables_have_their_row_means_as_effects(table):
    table = np.nan_to_num(table)
    taken = effects(table)
    np.testing.assert_allclose(taken.value, table.mean(axis=1), atol=1e-9)
    contrast = taken.influence[-1] - taken.influence[0]
    difference = table[-1] - table[0]
    np.testing.assert_allclose(contrast, difference - difference.mean(), atol=1e-9)


def test_missing_cells_do_not_move_an_exactly_additive_table():
    rng = np.random.default_rng(0)
    rows, columns = rng.normal(size=6), rng.normal(size=40)
    table = rows[:, None] + columns
    table[rng.uniform(size=table.shape) < 0.2] = np.nan
    taken = effects(table)
    np.testing.assert_allclose(np.diff(taken.value), np.diff(rows), atol=1e-9)
    np.testing.assert_allclose(taken.influence, 0.0, atol=1e-9)


def test_the_error_of_a_contrast_is_right_with_missing_cells():
    """The standard error from the influences against the spread over 400 simulated tables."""
    rng = np.random.default_rng(0)
    differences, errors = [], []
    for _ in range(400):
        table = rng.normal(size=(4, 60)) + 2 * rng.normal(size=60)
        table[rng.uniform(size=table.shape) < 0.15] = np.nan
        taken = effects(table)
        differences.append(taken.value[0] - taken.value[3])
        errors.append(np.sqrt(((taken.influence[0] - taken.influence[3]) ** 2).sum()) / taken.n)
    assert np.mean(errors) == pytest.approx(np.std(differences), rel=0.12)


def test_an_empty_row_has_no_effect_value():
    taken = effects(np.array([[1.0, 2.0], [np.nan, np.nan]]))
    assert taken.value[0] == 1.5
    assert np.isnan(taken.value[1])


def test_prompts_of_one_cluster_become_one_unit():
    table = np.random.default_rng(0).normal(size=(3, 6))
    single, paired = effects(table), effects(table, groups(np.array(list("bbccaa")), 6))
    assert paired.units == 3
    np.testing.assert_allclose(paired.influence[:, 0], single.influence[:, :2].sum(axis=1))
