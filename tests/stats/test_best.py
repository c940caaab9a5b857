"""The best evaluation of a run."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rm_monitor.stats import Election, best, pool_scores


def run(levels, n=200, seed=0):
    rng = np.random.default_rng(seed)
    return np.asarray(levels, dtype=float)[:, None] + rng.normal(size=n) + rng.normal(size=(len(levels), n))


def test_a_clear_winner_is_chosen_without_doubt():
    choice = best(run([0, 1, 3, 1]))
    assert (choice.index, choice.tied, choice.cost) == (2, (), 0.0)
    assert choice.p_best > 0.999


@given(st.integers(0, 40))
@settings(max_examples=20, deadline=None)
def test_it_has_the_highest_mean_pool_score(seed):
    scores = run([0] * 5, n=30, seed=seed)
    choice = best(scores)
    np.testing.assert_allclose(choice.pool, pool_scores(scores).mean(axis=1))
    assert choice.index == choice.pool.argmax()
    assert 0 < choice.p_best <= 1


def test_equals_are_tied_and_the_winner_reads_high():
    choice = best(run([0] * 6))
    assert len(choice.tied) == 5
    assert choice.index not in choice.tied
    assert choice.p_best < 0.4
    assert 0.005 < choice.cost < 0.1
    assert choice.earliest == 0


def test_the_truly_best_is_among_the_tied_in_95_of_100_runs():
    """300 runs: it should be left out 15 times (sd 3.8)."""
    levels = [0, 0.1, 0.2, 0.15, 0.1]
    choices = [best(run(levels, n=100, seed=s)) for s in range(300)]
    left_out = sum(2 not in (c.index, *c.tied) for c in choices)
    assert left_out <= 27


def test_what_is_said_of_being_the_best_is_as_often_true():
    """200 runs of five close rows: the probabilities said add up to the times it was."""
    levels = [0, 0.1, 0.2, 0.15, 0.1]
    choices = [best(run(levels, n=100, seed=s)) for s in range(200)]
    assert sum(c.p_best for c in choices) == pytest.approx(sum(c.index == 2 for c in choices), abs=24)


def test_what_a_choice_costs_at_most_holds_in_95_of_100_runs():
    levels = np.array([0, 0.1, 0.2, 0.15, 0.1])
    truth = pool_scores(run(levels, n=40_000, seed=10**6)).mean(axis=1)
    choices = [best(run(levels, n=60, seed=s)) for s in range(150)]
    for chosen, bound in (("index", "cost"), ("earliest", "earliest_cost")):
        held = [truth.max() - truth[getattr(c, chosen)] <= getattr(c, bound) for c in choices]
        assert sum(held) >= 137


def test_checkpoints_that_are_equal_throughout_share_their_probability():
    scores = run([0, 5], n=50)[[0, 1, 1]]
    choice = best(scores)
    assert (choice.index, choice.tied, choice.cost) == (1, (2,), 0.0)
    assert choice.p_best == pytest.approx(0.5, abs=0.01)


def test_only_an_eligible_row_is_chosen_and_beside_a_surely_better_one_it_is_told_among_them():
    choice = best(run([0, 3, 1, 1]), eligible=np.array([True, False, True, True]))
    assert choice.index in (2, 3)
    assert choice.tied == (5 - choice.index,)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.lists(st.booleans(), min_size=5, max_size=5))
def test_ties_do_not_depend_on_what_is_on_disk_while_the_best_is(seed, there):
    scores = np.random.default_rng(seed).normal(size=(5, 60)) + np.array([0.0, 0.2, 0.4, 0.4, 0.1])[:, None]
    whole = best(scores)
    there = np.array(there)
    there[whole.index] = True
    some = best(scores, eligible=there)
    assert (some.index, some.tied, some.p_best, some.cost) == (
        whole.index,
        whole.tied,
        whole.p_best,
        whole.cost,
    )
    assert there[some.earliest]
    assert some.earliest in (some.index, *some.tied)


def test_exact_ties_go_to_the_headline_and_then_to_the_earliest():
    scores = np.zeros((3, 20))
    assert best(scores).index == 0
    assert best(scores, ties=np.array([0.1, 0.3, 0.2])).index == 1
    assert best(scores, ties=np.array([np.nan, 0.3, 0.3])).index == 1


def test_missing_scores_do_not_make_a_row_better():
    """A row that is unscored where prompts are hard is not better for that."""
    rng = np.random.default_rng(0)
    hard = np.linspace(-0.4, 0.4, 100)
    outcomes = np.clip(0.5 + hard + 0.01 * rng.normal(size=(3, 100)), 0, 1)
    outcomes[1] += 0.03
    outcomes = np.clip(outcomes, 0, 1)
    outcomes[0, :10] = np.nan
    assert best(outcomes, pool=False).index == 1


def test_a_row_without_scores_is_never_the_best():
    scores = run([0, 9, 0])
    scores[1] = np.nan
    choice = best(scores)
    assert choice.index != 1
    assert np.isnan(choice.pool[1])


def test_one_evaluation_is_the_best_of_itself():
    choice = best(run([0]))
    assert (choice.index, choice.p_best, choice.tied, choice.cost) == (0, 1.0, (), 0.0)


@pytest.mark.parametrize("n", [1, 2])
def test_a_prompt_or_two_give_a_choice_without_an_error(n):
    assert best(run([0, 1, 2], n=n)).index in range(3)


def test_copies_in_a_cluster_do_not_make_the_choice_surer():
    few = run([0, 0.2, 0.1], n=30)
    alone = best(few)
    copies = best(np.repeat(few, 9, axis=1), clusters=np.repeat(np.arange(30), 9))
    assert (copies.p_best, copies.tied) == (pytest.approx(alone.p_best, abs=1e-3), alone.tied)


def test_the_same_seed_gives_the_same_answer():
    a, b = (best(run([0, 0, 0]), seed=5) for _ in range(2))
    assert (a.index, a.p_best, a.tied, a.cost) == (b.index, b.p_best, b.tied, b.cost)


def test_a_choice_from_nothing_is_refused():
    with pytest.raises(ValueError, match="`eligible` must leave a row"):
        best(run([0, 1]), eligible=np.zeros(2, dtype=bool))
    with pytest.raises(ValueError, match=r"`eligible` .* shape \(2,\)"):
        best(run([0, 1]), eligible=np.ones(3, dtype=bool))
    with pytest.raises(ValueError, match=r"`ties` .* shape \(3,\)"):
        best(np.zeros((3, 5)), ties=np.zeros(2))
    with pytest.raises(ValueError, match="one row an evaluation"):
        best(np.zeros(5))


@pytest.mark.parametrize("seed", range(12))
def test_the_ties_are_those_of_the_definition_written_out(seed):
    """Max-T over all replicates and all pairs, no short cut."""
    from rm_monitor.stats.multiplier import signs, studentised

    rng = np.random.default_rng(seed)
    t, n = 25, int(rng.choice([8, 40, 120]))
    scores = run(rng.normal(size=t) * [0.05, 0.3, 1.5][seed % 3], n=n, seed=seed)
    scores[5] = scores[4]
    mean = scores.mean(axis=1)
    influence = (scores - mean[:, None]) / n
    noise = influence.astype(np.float32) @ signs(0, n, 2_000).astype(np.float32)
    tied = []
    for s in range(t):
        se = np.sqrt(((influence - influence[s]) ** 2).sum(axis=1))
        other = se > 1e-12
        seen = ((mean[other] - mean[s]) / se[other]).max()
        chance = ((noise[other] - noise[s]) / se[other, None]).max(axis=0)
        if seen * np.sqrt((n - 1) / n) <= np.quantile(studentised(chance, n), 0.95):
            tied.append(s)
    choice = best(scores, pool=False)
    assert sorted({choice.index, *choice.tied}) == sorted({choice.index, *tied})


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 30), st.integers(1, 4))
def test_an_election_that_goes_on_says_what_one_anew_says(seed, cut):
    scores = run([0, 0.2, 0.1, 0.3, 0.2], n=40, seed=seed)
    scores[2, :5] = np.nan
    election = Election()
    for end in (cut, cut, 5):
        a, b = election.choose(scores[:end]), best(scores[:end])
        assert (a.index, a.tied, a.p_best, a.cost) == (b.index, b.tied, b.p_best, b.cost)
    assert election.choose(scores[::-1]).index == best(scores[::-1]).index
