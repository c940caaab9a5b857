"""No power is no evidence: a collapse is called at every look, and the state holds until it is over."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rm_monitor import stats
from rm_monitor.stats import Detector, degradation
from rm_monitor.types import Alarm, EvalPoint
from rm_monitor.verdict.alarm import Memory, judge

quick = settings(max_examples=12, deadline=None)


def rows(levels, n, seed=0):
    return np.random.default_rng(seed).normal(np.asarray(levels, dtype=float)[:, None], 1.0, (len(levels), n))


def points(rewards):
    probability = stats.win_probability(rewards)
    return [
        EvalPoint(step=t, metrics={"win_prob": stats.share(p)}, values={"reward": r, "win_prob": p})
        for t, (r, p) in enumerate(zip(rewards, probability, strict=True))
    ]


def replicated(scores, **rules):
    """The looks, with fewer replicates: what is beyond all of them must alarm however few they are."""
    detector = Detector(replicates=200, **rules)
    return [detector.add(row)[0] for row in scores]


@pytest.mark.parametrize("horizon", ["unknown", "known", "exceeded"])
@pytest.mark.parametrize("tolerance", ["jitter", 0.0])
def test_a_collapse_is_called_at_the_next_evaluation_wherever_it_comes(horizon, tolerance):
    for at in (2, 7, 19, 20, 21, 57, 58, 59, 134):
        told = {"unknown": None, "known": at + 3, "exceeded": max(at // 2, 1)}[horizon]
        scores = rows([2.6] * at + [0.0] * 3, n=64, seed=at)
        flagged = [look.flagged for look in replicated(scores, horizon=told, tolerance=tolerance)]
        assert flagged[at:] == [True, True, True], at


@pytest.mark.parametrize("before", [1, 2, 20, 57])
def test_a_degraded_run_that_stays_down_is_degraded_until_the_end(before):
    curve = points(rows([2.6] * before + [0.0] * 30, n=64))
    verdict = judge(curve, metric="win_prob", alarm=Alarm(horizon=before + 2))
    assert {state for step, state in verdict.states if step >= before} == {"degraded"}


@pytest.mark.parametrize("tolerance", ["jitter", 0.0])
@pytest.mark.parametrize("n", [16, 64, 512])
@pytest.mark.parametrize("kind", ["outcomes", "rewards", "probabilities"])
def test_a_fall_that_is_equal_on_all_prompts_is_the_strongest_evidence(n, kind, tolerance):
    """64 of 64 answers are valid JSON, then none is: no spread, and no doubt."""
    for at in (1, 5, 25):
        before, after = {"outcomes": (1, 0), "rewards": (1, 0), "probabilities": (0.9, 0.5)}[kind]
        scores = np.repeat([before] * at + [after] * 2, n).reshape(-1, n).astype(float)
        if kind == "probabilities":
            scores = scores + np.linspace(-0.05, 0.05, n)
        looks = replicated(scores, pool=kind == "rewards", tolerance=tolerance)
        assert [look.flagged for look in looks[at:]] == [True, True], at
        assert looks[at].low > 0


@quick
@given(st.integers(0, 1000), st.sampled_from([0.0, 0.2, 0.5, 1.0, 2.0]), st.integers(2, 9))
def test_a_larger_fall_is_never_less_certain(seed, size, at):
    scores = rows([0.5] * at + [0.0] * 2, n=48, seed=seed)
    looks = {}
    for fall in (size, size + 0.5):
        fallen = scores.copy()
        fallen[at:] -= fall
        looks[fall] = replicated(fallen, horizon=at + 2)
    for small, large in zip(looks[size][at:], looks[size + 0.5][at:], strict=True):
        assert large.drop >= small.drop - 1e-9
        assert large.flagged or not small.flagged


@quick
@given(st.integers(0, 1000), st.sampled_from([0.3, 0.8, 2.0]))
def test_recovered_and_steady_are_said_on_a_paired_interval_that_reaches_0_only(seed, spread):
    rng = np.random.default_rng(seed)
    memory, curve = Memory(), points(rows(spread * rng.normal(size=10), n=32, seed=seed))
    for t in range(1, 11):
        verdict = judge(curve[:t], metric="win_prob", alarm=Alarm(horizon=8), memory=memory)
        if verdict.state in ("recovered", "steady"):
            assert verdict.change.high >= 0


@quick
@given(st.integers(0, 1000), st.integers(1, 30))
def test_prompts_that_always_get_equal_answers_change_no_fall(seed, more):
    """They dilute a mean and add no noise: the studentised contrast without allowance is the same."""
    scores = rows([0, 1, -1], n=40, seed=seed)
    padded = np.hstack([scores, np.zeros((3, more))])
    a, b = (degradation(x, horizon=3)[-1] for x in (scores, padded))
    assert b.drop == pytest.approx(a.drop * 40 / (40 + more))
    assert (a.against, a.now) == (b.against, b.now)


def test_under_ten_clusters_no_alarm_can_be_raised_and_that_is_said():
    scores = rows([2, 2, -4], n=128)
    curve = points(scores)
    verdict = judge(curve, metric="win_prob", clusters=np.arange(128) // 16)
    assert verdict.state == "undecided"
    assert (verdict.n, verdict.units, verdict.visible_drop) == (128, 8, np.inf)
    from rm_monitor import messages

    assert "128 prompts are 8 clusters" in messages.reason(verdict)
