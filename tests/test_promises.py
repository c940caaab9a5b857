"""Every plug-in keeps the same promises, and the checks notice when one does not."""

import numpy as np
import pytest

from rm_monitor import Sampling
from rm_monitor.generators.hf import HFGenerator
from rm_monitor.scorers import load_scorer
from rm_monitor.sinks import load_sinks
from rm_monitor.testing import (
    BrokenPromise,
    ListSink,
    Says,
    TableScorer,
    check_generator,
    check_preference_scorer,
    check_scorer,
    check_sink,
)
from rm_monitor.types import Preferences


def counts(prompts, completions):
    return [float(len(c)) for c in completions]


class Judge:
    fingerprint = "prefers the longer"

    def prefer(self, prompts, completions, references):
        longer = np.array([np.sign(len(c.text) - len(r.text)) for c, r in zip(completions, references)])
        return Preferences(probability=0.5 + 0.4 * longer)


@pytest.mark.parametrize(
    "make", [lambda d: TableScorer(**{"A plain answer.": 1.0}), lambda d: load_scorer(counts), load_scorer]
)
def test_every_scorer_keeps_its_promises(make, tiny_reward_model_dir):
    check_scorer(make(str(tiny_reward_model_dir)))


def test_a_preference_scorer_keeps_its_promises():
    check_preference_scorer(Judge())


@pytest.mark.parametrize("temperature", [0.0, 0.9])
def test_the_generator_keeps_its_promises(temperature, tiny_policy, tiny_tokenizer):
    sampling = Sampling(temperature=temperature, max_new_tokens=5, samples_per_prompt=2)
    check_generator(HFGenerator(), sampling=sampling, model=tiny_policy.eval(), tokenizer=tiny_tokenizer)
    check_generator(Says("hello"))


@pytest.mark.parametrize("name", ["none", "wandb", "list", "function"])
def test_every_sink_keeps_its_promises(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = {"list": ListSink(), "function": lambda update: None}.get(name, name)
    for sink in load_sinks(given):
        check_sink(lambda sink=sink: sink)


class Leaky(TableScorer):
    def score(self, prompts, completions):
        return np.full(len(completions), float(len(completions)))


class Draws(TableScorer):
    def score(self, prompts, completions):
        np.random.rand()
        return np.ones(len(completions))


class Short(TableScorer):
    def score(self, prompts, completions):
        return np.ones(len(completions) + 1)


@pytest.mark.parametrize(
    ("scorer", "promise"),
    [
        (Leaky(), "rows beside it"),
        (Draws(), "global random state"),
        (TableScorer(), "at least one plain text"),
    ],
)
def test_a_scorer_that_breaks_a_promise_is_told_which(scorer, promise):
    with pytest.raises(BrokenPromise, match=promise):
        check_scorer(scorer)


def test_a_scorer_with_a_row_too_many_is_told_so():
    with pytest.raises(ValueError, match="one score a completion"):
        check_scorer(Short())


def test_a_generator_that_mixes_up_samples_is_told_so():
    class Mixes(Says):
        def generate(self, *args, **kwargs):
            return super().generate(*args, **kwargs)[::-1]

    with pytest.raises(BrokenPromise, match="prompt by prompt"):
        check_generator(Mixes("x"))


def test_a_sink_that_fails_on_a_gap_is_told_so():
    class Fragile:
        def show(self, update):
            update.point.metrics["win_prob"]

    with pytest.raises(BrokenPromise, match="a failed evaluation"):
        check_sink(Fragile)
