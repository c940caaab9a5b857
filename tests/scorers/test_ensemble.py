"""An ensemble combines comparisons; its members' references are scored once."""

import numpy as np
import pytest

from rm_monitor import RewardMonitor
from rm_monitor.cache.cached import CachedScorer
from rm_monitor.scorers.ensemble import Ensemble
from rm_monitor.testing import Says, TableScorer, check_preference_scorer
from rm_monitor.types import Completion, Preferences, Prompt

A = TableScorer(good=2.0, bad=-1.0, fair=0.5)
B = TableScorer(good=-0.5, bad=0.5, fair=0.5)


class Counting(TableScorer):
    """Remembers which texts it was asked to score."""

    def __init__(self, **rewards):
        super().__init__(**rewards)
        self.asked = []

    def score(self, prompts, completions):
        self.asked += [c.text for c in completions]
        return super().score(prompts, completions)


class Sure:
    """A preference model that is always 0.9 sure of the completion."""

    fingerprint = "sure"

    def prefer(self, prompts, completions, references):
        return Preferences(probability=np.full(len(prompts), 0.9))


def rows(*pairs):
    prompts = [Prompt(id=f"p{i}", messages=({"role": "user", "content": "?"},)) for i in range(len(pairs))]
    columns = zip(*pairs, strict=True)
    return [prompts, *([Completion(prompt_id=f"p{i}", text=t) for i, t in enumerate(c)] for c in columns)]


def sigmoid(x):
    return 1 / (1 + np.exp(-np.asarray(x)))


PAIRS = rows(("good", "bad"), ("bad", "fair"), ("fair", "fair"))
P = np.array([sigmoid([3.0, -1.5, 0.0]), sigmoid([-1.0, 0.0, 0.0])])


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, P.mean(0)),
        ({"rule": "min"}, P.min(0)),
        ({"rule": "penalised", "penalty": 0.5}, P.mean(0) - 0.5 * P.var(0, ddof=1)),
        ({"on": "outcome"}, [0.5, 0.25, 0.5]),
        ({"temperature": {"a": 3.0}}, (sigmoid([1.0, -0.5, 0.0]) + P[1]) / 2),
    ],
)
def test_comparisons_are_combined(options, expected):
    said = Ensemble({"a": A, "b": B}, **options).prefer(*PAIRS)
    np.testing.assert_allclose(said.probability, expected, rtol=1e-12)


def test_a_scale_that_shouts_does_not_decide():
    # One member's scores are a thousand times larger: a mean of raw scores would follow it alone.
    loud = TableScorer(good=-500.0, bad=500.0)
    quiet = TableScorer(good=4.0, bad=-4.0)
    third = TableScorer(good=4.0, bad=-4.0)
    said = Ensemble({"loud": loud, "quiet": quiet, "third": third}).prefer(*rows(("good", "bad")))
    assert said.probability[0] > 0.6


def test_disagreement_and_each_member_are_measured():
    said = Ensemble({"a": A, "b": B}).prefer(*PAIRS)
    np.testing.assert_allclose(said.measures["disagreement"], P.std(0), rtol=1e-12)
    np.testing.assert_allclose(said.measures["a/win_prob"], P[0], rtol=1e-12)
    np.testing.assert_allclose(said.measures["b/win_prob"], P[1], rtol=1e-12)


def test_the_mean_keeps_the_promises_of_a_preference_scorer():
    def length(prompts, completions):
        return [float(len(c)) for c in completions]

    check_preference_scorer(Ensemble({"a": length, "b": Opposite()}, temperature={"a": 5.0}))


class Opposite:
    fingerprint = "prefers the shorter"

    def prefer(self, prompts, completions, references):
        shorter = [np.sign(len(r.text) - len(c.text)) for c, r in zip(completions, references)]
        return 0.5 + 0.25 * np.array(shorter)


@pytest.mark.parametrize("rule", ["min", "penalised"])
def test_pessimistic_rules_never_read_higher_than_the_mean_and_a_text_ties_with_itself(rule):
    pessimist, mean = Ensemble({"a": A, "b": B}, rule=rule), Ensemble({"a": A, "b": B})
    low, middle = pessimist.prefer(*PAIRS).probability, mean.prefer(*PAIRS).probability
    assert (low <= middle).all()
    assert low[2] == 0.5
    assert low[0] < middle[0]


def test_a_pair_that_one_member_cannot_judge_is_left_out():
    partial = TableScorer(good=1.0, bad=0.0)
    said = Ensemble({"a": A, "partial": partial}).prefer(*PAIRS)
    assert np.isnan(said.probability).tolist() == [False, True, True]


def test_preference_models_and_reward_models_mix():
    said = Ensemble({"a": A, "sure": Sure()}).prefer(*PAIRS)
    np.testing.assert_allclose(said.probability, (P[0] + 0.9) / 2, rtol=1e-12)


def test_references_are_scored_once():
    counting = Counting(good=2.0, bad=-1.0, fair=0.5)
    ensemble = Ensemble({"counting": counting, "b": B})
    for _ in range(3):
        ensemble.prefer(*PAIRS)
    assert counting.asked.count("good") == 3
    assert counting.asked.count("bad") == 3 + 1  # three times an answer, once a reference
    assert counting.asked.count("fair") == 3 + 2  # a reference of two prompts


def test_members_without_a_probability_need_a_temperature():
    def length(prompts, completions):
        return [float(len(c)) for c in completions]

    with pytest.raises(ValueError, match=r"member 'length' has scale 'unknown'.*temperature="):
        Ensemble({"a": A, "length": length})
    Ensemble({"a": A, "length": length}, temperature={"length": 20.0})
    Ensemble({"a": A, "length": length}, on="outcome")


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({"members": {"a": A}}, "at least two"),
        ({"members": {"a/b": A, "b": B}}, "without '/'"),
        ({"rule": "median"}, "`rule`"),
        ({"on": "score"}, "`on`"),
        ({"penalty": -1.0}, "`penalty`"),
        ({"temperature": 0.0}, "above 0"),
        ({"temperature": {"c": 1.0}}, "names"),
    ],
)
def test_arguments_are_checked(arguments, why):
    with pytest.raises(ValueError, match=why):
        Ensemble(**{"members": {"a": A, "b": B}, **arguments})


def test_everything_is_in_the_fingerprint():
    made = [
        Ensemble({"a": A, "b": B}),
        Ensemble({"a": A, "b": A}),
        Ensemble({"a": A, "b": B}, rule="min"),
        Ensemble({"a": A, "b": B}, rule="penalised"),
        Ensemble({"a": A, "b": B}, rule="penalised", penalty=2.0),
        Ensemble({"a": A, "b": B}, temperature=2.0),
        Ensemble({"a": A, "b": B}, on="outcome"),
    ]
    assert len({e.fingerprint for e in made}) == len(made)
    assert made[0].fingerprint == Ensemble({"a": A, "b": B}, penalty=2.0).fingerprint  # not used by the mean


def test_a_monitor_logs_the_ensemble_its_members_and_their_disagreement(tmp_path, tiny_reward_model_dir):
    ensemble = Ensemble({"net": str(tiny_reward_model_dir), "table": TableScorer(yes=1.0, no=0.0)})
    monitor = RewardMonitor(
        ensemble,
        ["One?", "Two?", "Three?"],
        references=["no"] * 3,
        output_dir=tmp_path,
        report_to="none",
        generator=Says("yes"),
    )
    point = monitor.evaluate(step=1)
    m = {name: e.value for name, e in point.metrics.items()}
    assert m["win_prob"] == pytest.approx((m["net/win_prob"] + m["table/win_prob"]) / 2)
    assert m["table/win_prob"] == pytest.approx(sigmoid(1.0))
    assert m["disagreement"] == pytest.approx(abs(m["net/win_prob"] - m["table/win_prob"]) / 2)
    assert isinstance(ensemble.members["net"], CachedScorer)  # members share the score cache


@pytest.mark.parametrize("margin", [0.0, 0.1, 0.49, 0.51, 3.0, -0.1, -3.0])
def test_a_member_alone_and_in_an_ensemble_calls_the_same_margins_ties(margin):
    from rm_monitor.evaluation.scorer_set import ScorerSet
    from rm_monitor.types import ReferenceSet

    class Noisy:
        scale, fingerprint, noise = "logit", "noisy", 0.5

        def score(self, prompts, completions):
            return np.array([float(c.text) for c in completions])

    asked = Prompt(id="1", messages=({"role": "user", "content": "?"},))
    ours, fixed = Completion(prompt_id="1", text=f"{10 + margin}"), Completion(prompt_id="1", text="10")
    alone = ScorerSet({"one": Noisy()}, [asked]).values(
        [[ours]], [ReferenceSet(name="r", completions=(fixed,))]
    )
    for on, metric in (("outcome", "win_rate"), ("probability", "win_prob")):
        both = Ensemble({"a": Noisy(), "b": Noisy()}, on=on).prefer([asked], [ours], [fixed])
        np.testing.assert_allclose(both.probability, alone[metric][0], rtol=1e-12)


def test_a_member_keeps_the_temperature_it_was_loaded_with():
    a, b = TableScorer(good=2.0, bad=0.0), TableScorer(good=2.0, bad=0.0)
    a.temperature = 4.0
    asked = [Prompt(id="1", messages=({"role": "user", "content": "?"},))]
    good, bad = ([Completion(prompt_id="1", text=text)] for text in ("good", "bad"))
    said = Ensemble({"a": a, "b": b}).prefer(asked, good, bad)
    np.testing.assert_allclose(said.measures["a/win_prob"], [1 / (1 + np.exp(-0.5))])
    np.testing.assert_allclose(said.measures["b/win_prob"], [1 / (1 + np.exp(-2.0))])
    told = Ensemble({"a": a, "b": b}, temperature=1.0).prefer(asked, good, bad)
    np.testing.assert_allclose(told.measures["a/win_prob"], [1 / (1 + np.exp(-2.0))])
