"""Every plug-in keeps the same promises, and the checks notice when one does not."""

import random
from dataclasses import replace

import numpy as np
import pytest

from rm_monitor import Sampling, files
from rm_monitor.cache.scores import ScoreStore
from rm_monitor.generators.hf import HFGenerator
from rm_monitor.scorers import load_scorer
from rm_monitor.sinks import load_sinks
from rm_monitor.sinks.mlflow import MLflowSink
from rm_monitor.sinks.page import PageSink
from rm_monitor.sinks.tensorboard import TensorBoardSink
from rm_monitor.sinks.trackio import TrackioSink
from rm_monitor.sinks.wandb import WandbSink
from rm_monitor.testing import (
    BrokenPromise,
    DictStore,
    ListSink,
    Says,
    TableScorer,
    check_generator,
    check_preference_scorer,
    check_scorer,
    check_sink,
    check_store,
)
from rm_monitor.testing.promises import AWKWARD
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


class Takes:
    """A logger's run, writer or client: takes all calls; from `broken` on every one that logs fails."""

    id = "run"

    def __init__(self):
        self.broken, self.calls = False, 0

    def _take(self, *args, **kwargs):
        self.calls += 1
        if self.broken:
            raise ConnectionError("the logger is away")

    log = log_metrics = set_tags = add_scalar = add_text = alert = _take

    def flush(self):
        pass

    def active_run(self):
        return self


@pytest.fixture
def offline_run(tmp_path):
    import wandb

    with wandb.init(project="test", dir=tmp_path, mode="offline", settings={"console": "off"}) as run:
        yield run
    wandb.teardown()


@pytest.mark.parametrize("given", ["none", [ListSink()], [lambda update: None]], ids=["none", "list", "call"])
def test_every_sink_keeps_its_promises(given):
    for sink in load_sinks(given):
        check_sink(lambda sink=sink: sink)


def test_the_w_and_b_sink_keeps_its_promises_in_an_open_run(offline_run):
    check_sink(lambda: WandbSink(offline_run))
    assert offline_run.summary["rm_monitor/verdict"] == "undecided"


LOGGERS = [TrackioSink, TensorBoardSink, MLflowSink]


@pytest.mark.parametrize("sink", LOGGERS)
def test_every_sink_of_a_logger_keeps_its_promises_in_an_open_run(sink):
    logger = Takes()
    check_sink(lambda: sink(logger))
    assert logger.calls >= 12, "every update is logged"


@pytest.mark.parametrize("sink", LOGGERS)
def test_a_logger_that_is_away_breaks_the_promise_of_its_sink(sink):
    logger = Takes()
    logger.broken = True
    with pytest.raises(BrokenPromise, match="ConnectionError"):
        check_sink(lambda: sink(logger))


def test_the_page_is_really_written_when_its_promises_are_checked(monkeypatch):
    real = files.replace

    def full(path, text):
        if path.suffix == ".html":
            raise OSError("no space left")
        real(path, text)

    monkeypatch.setattr(files, "replace", full)
    with pytest.raises(BrokenPromise, match="no space left"):
        check_sink(PageSink)


def test_the_w_and_b_sink_really_logs_when_its_promises_are_checked(offline_run, monkeypatch):
    def away(*args, **kwargs):
        raise ConnectionError("the logger is away")

    monkeypatch.setattr(type(offline_run), "log", away)
    with pytest.raises(BrokenPromise, match="a first evaluation: it raised ConnectionError"):
        check_sink(lambda: WandbSink(offline_run))


def test_a_sink_that_cannot_be_closed_is_told_so():
    class Sticks(ListSink):
        def close(self):
            raise RuntimeError("still sending")

    with pytest.raises(BrokenPromise, match="closed after a run"):
        check_sink(Sticks)


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


# ---------------------------------------------------------------------------- every promise can be broken


class Scores(TableScorer):
    def __init__(self, **more):
        super().__init__()
        self.__dict__.update(more)

    def score(self, prompts, completions):
        return np.array([float(len(c.text)) for c in completions])


class Nameless(Scores):
    fingerprint = ""


class Restless(Scores):
    @property
    def fingerprint(self):
        return str(np.random.default_rng().random())


class Wavers(Scores):
    calls = 0

    def score(self, prompts, completions):
        self.calls += 1
        return super().score(prompts, completions) + 0.1 * self.calls


class Ordered(Scores):
    def score(self, prompts, completions):
        return super().score(prompts, completions) + np.arange(len(completions))


class Neighbours(Scores):
    def score(self, prompts, completions):
        own = super().score(prompts, completions)
        return own + own.sum()


class NeedsRows(Scores):
    def score(self, prompts, completions):
        return super().score(prompts, completions) if completions else np.ones(1)


class Eats(Scores):
    def score(self, prompts, completions):
        scores = super().score(prompts, completions)
        completions.clear()
        return scores


@pytest.mark.parametrize(
    ("scorer", "promise"),
    [
        (Nameless(), "not empty"),
        (Restless(), "the same each time"),
        (Scores(scale="degrees"), "scale"),
        (Wavers(), "score the same again"),
        (Ordered(), "order of rows"),
        (Neighbours(), "rows beside it"),
        (Eats(), "are not changed"),
    ],
    ids=lambda x: type(x).__name__ if not isinstance(x, str) else "",
)
def test_each_promise_of_a_scorer_is_noticed_when_it_is_broken(scorer, promise):
    with pytest.raises(BrokenPromise, match=promise):
        check_scorer(scorer)


def test_a_scorer_that_gives_scores_for_no_rows_is_told_so():
    with pytest.raises((BrokenPromise, ValueError)):
        check_scorer(NeedsRows())


@pytest.mark.parametrize(
    ("prefer", "promise"),
    [
        (lambda a, b: np.full(len(a), 1.5), "lie in"),
        (lambda a, b: np.full(len(a), 0.7), "swapping"),
        (lambda a, b: np.full(len(a) + 1, 0.5), "one probability a pair"),
        (
            lambda a, b: np.where([x.text == y.text != AWKWARD[0] for x, y in zip(a, b)], 0.6, 0.5),
            "against itself",
        ),
    ],
)
def test_each_promise_of_a_preference_scorer_is_noticed_when_it_is_broken(prefer, promise):
    class Breaks(Judge):
        def prefer(self, prompts, completions, references):
            return prefer(completions, references)

    with pytest.raises(BrokenPromise, match=promise):
        check_preference_scorer(Breaks())


class Draws2(Says):
    def generate(self, *args, **kwargs):
        random.random()
        return super().generate(*args, **kwargs)


class Counts(Says):
    def generate(self, prompts, sampling, **kwargs):
        self._text = f"there are {len(prompts)} of us"
        return super().generate(prompts, sampling, **kwargs)


class NoText(Says):
    def generate(self, *args, **kwargs):
        return [replace(c, text=None) for c in super().generate(*args, **kwargs)]


@pytest.mark.parametrize(
    ("generator", "promise"),
    [(Draws2("x"), "random state"), (Counts("x"), "prompts beside it"), (NoText("x"), "has a text")],
)
def test_each_promise_of_a_generator_is_noticed_when_it_is_broken(generator, promise):
    with pytest.raises(BrokenPromise, match=promise):
        check_generator(generator)


def test_a_sink_that_draws_random_numbers_is_told_so():
    class Draws3:
        def show(self, update):
            random.random()

    with pytest.raises(BrokenPromise, match="random state"):
        check_sink(Draws3)


# ---------------------------------------------------------------------------- stores


@pytest.mark.parametrize("make", ["sqlite", "memory", "dict", "locked away"])
def test_every_store_keeps_its_promises(make, tmp_path):
    (tmp_path / "file").write_text("no folder")
    place = {"sqlite": tmp_path / "s.sqlite", "memory": ":memory:", "locked away": tmp_path / "file" / "s"}
    check_store(DictStore if make == "dict" else lambda: ScoreStore(place[make]))


class Rounds(DictStore):
    def put(self, values, *, model=None):
        super().put({k: {n: round(x, 6) for n, x in v.items()} for k, v in values.items()})


class Overwrites(DictStore):
    def put(self, values, *, model=None):
        self._kept.update({k: dict(v) for k, v in values.items()})


class Remembers(DictStore):
    def drop(self, keys):
        pass


class Guesses(DictStore):
    def get(self, keys):
        return {key: self._kept.get(key, {"reward": 0.0}) for key in keys}


class Lends(DictStore):
    def get(self, keys):
        return {key: self._kept[key] for key in keys if key in self._kept}


class Few(DictStore):
    def get(self, keys):
        return super().get(list(keys)[:999])


@pytest.mark.parametrize(
    ("store", "promise"),
    [
        (Rounds, "to the last bit"),
        (Overwrites, "kept first stays"),
        (Remembers, "is forgotten"),
        (Guesses, "not known"),
        (Lends, "changes nothing"),
        (Few, "however many"),
    ],
)
def test_each_promise_of_a_store_is_noticed_when_it_is_broken(store, promise):
    with pytest.raises(BrokenPromise, match=promise):
        check_store(store)


def scorer_with(**members):
    """A scorer that keeps its promises, and these members."""

    class Offers:
        fingerprint, scale = "f", "logit"

        def score(self, prompts, completions):
            return [float(len(c.text)) for c in completions]

    for name, member in members.items():
        setattr(Offers, name, member)
    return Offers()


def each_key(self, prompts, completions):
    return [c.text.encode("utf-16", "surrogatepass")[:16].ljust(16) for c in completions]


@pytest.mark.parametrize(
    ("members", "promise"),
    [
        ({"temperature": 0.0}, "`temperature` is None or above 0"),
        ({"temperature": -1.0}, "`temperature` is None or above 0"),
        ({"noise": float("nan")}, "`noise` is a number of 0 or more"),
        ({"describe": lambda self: " "}, "`describe"),
        ({"model_identity": {"weights": 3}}, "`model_identity` maps text to text"),
        ({"memory": -1}, "`memory` is bytes"),
        ({"counts": lambda self: {"new": -1}}, "`counts"),
        ({"cacheable": True, "keys": lambda self, p, c: [b"short"] * len(c)}, "16 bytes a row"),
        ({"cacheable": True, "keys": lambda self, p, c: [b"0" * 16] * len(c)}, "different answers"),
        (
            {"cacheable": True, "keys": lambda self, p, c: [f"{len(c):016}".encode()] * len(c)},
            "rows beside it",
        ),
        ({"score_alone": lambda self, p, c: np.zeros(len(c))}, "`score_alone` says what `score` says"),
        ({"each": lambda self, change: None}, "calls `change` with every member"),
    ],
    ids=lambda x: x if isinstance(x, str) else None,
)
def test_an_ability_that_is_offered_and_not_kept_is_noticed(members, promise):
    with pytest.raises(BrokenPromise, match=promise.replace("(", r"\(")):
        check_scorer(scorer_with(**members))


def test_abilities_that_are_kept_and_those_switched_off_pass():
    check_scorer(scorer_with())
    check_scorer(scorer_with(temperature=None, noise=0.0, memory=3, counts=lambda self: {"tokens": 1}))
    check_scorer(scorer_with(cacheable=False, keys=lambda self, p, c: []))
    check_scorer(scorer_with(cacheable=True, keys=each_key, temperature=2.0))
