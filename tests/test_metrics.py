"""The one table of metrics: everything that is logged is in it, and everyone reads the same entry."""

import math
from string import Formatter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rm_monitor import messages, stats
from rm_monitor.curve import tables, text_metrics
from rm_monitor.curve.metrics import FACTS, HEADLINES, METRICS, WATCHED, find, interval, label, named
from rm_monitor.evaluation.scorer_set import ScorerSet
from rm_monitor.scorers import Ensemble
from rm_monitor.scorers.text.formatting import FLAGS, SELDOM
from rm_monitor.sinks.row import row
from rm_monitor.testing.updates import updates
from rm_monitor.types import Completion, Preferences, Prompt, ReferenceSet, Scores, Signal, Table

PROMPTS = [Prompt(id=str(i), messages=({"role": "user", "content": "Q"},), tags=("t",)) for i in range(30)]
REFERENCES = [
    ReferenceSet(name=name, completions=tuple(Completion(prompt_id=p.id, text="fixed") for p in PROMPTS))
    for name in ("chosen", "sft")
]


class SaysAll:
    """A pointwise model that notices everything a scorer of ours can notice."""

    scale, fingerprint = "logit", "all"

    def score(self, prompts, completions):
        n = len(completions)
        return Scores(
            reward=np.arange(n) % 7.0,
            attributes={"helpfulness": np.ones(n)},
            flags={flag: np.arange(n) % 2 == 0 for flag in (*FLAGS, *SELDOM, "nonfinite")},
        )


class Compares:
    """A preference model that notices everything one of ours can notice."""

    fingerprint = "pairs"

    def prefer(self, prompts, completions, references):
        n = len(completions)
        return Preferences(
            probability=np.linspace(0, 1, n),
            order_gap=np.full(n, 0.2),
            measures={"unparsed": np.zeros(n), "consistency": np.arange(n)},
        )


def logged():
    """Every metric of a run with two reference sets, a second judge, a preference model and an ensemble."""
    ensemble = Ensemble({"length": SaysAll(), "reward": SaysAll()})
    scorer_set = ScorerSet(
        {"main": SaysAll(), "gold": SaysAll(), "pairs": Compares(), "both": ensemble}, PROMPTS
    )
    facts = {"n_tokens": 3, "reasoning_tokens": 1, "finish_reason": "length"}
    facts |= {"entropy": 1.0, "top10_mass": 0.9, "kl": 0.1}
    rows = [[Completion(prompt_id=p.id, text=f"an answer {p.id}", **facts)] for p in PROMPTS]
    table = Table(
        prompt_ids=tuple(p.id for p in PROMPTS),
        completions=tuple(map(tuple, rows)),
        values=scorer_set.values(rows, REFERENCES),
    )
    return tables.point(0, table, prompts=PROMPTS, metric="win_prob").metrics


def test_every_metric_that_is_ever_logged_is_in_the_table():
    names = logged()
    assert {named(name) for name in names} <= set(METRICS)
    assert {"gold/win_prob/sft", "win_prob@t", "gold/attribute/helpfulness"} <= set(names)
    assert "both/length/win_prob" in names
    assert set(METRICS) - {named(name) for name in names} == {"lc_win_prob", "lc_slope"}  # of whole curves


def test_every_fact_of_a_run_that_a_logger_sees_is_in_the_table(tmp_path):
    for _, update in updates(tmp_path):
        for name in row(update):
            short = name.removeprefix("rm_monitor/")
            own = short.removesuffix("_low").removesuffix("_high").removeprefix("engine/")
            assert own in FACTS or own in update.point.measured or named(own.removeprefix("best_")) in METRICS


def test_what_is_bounded_has_a_bounded_interval_and_is_read_in_percent():
    for name, metric in METRICS.items():
        e = interval(name)(np.array([0.0, 0.2, 0.1, 0.9] * 8))
        assert metric.is_share == (interval(name) is not stats.mean)
        assert messages.is_share(name) == metric.is_share
        if metric.is_share:
            assert 0 <= e.low <= e.high <= 1
            assert messages.number(0.25, name) == "25.0%"


SCORERS = st.sampled_from(["gold", "length", "truncated", "reward", "my-judge"])
SETS = st.sampled_from(["sft", "chosen", "length", "empty"])
JUDGED = st.sampled_from([m.name for m in METRICS.values() if m.of == "references"])


@given(SCORERS, JUDGED, SETS, st.sampled_from(["", "@code", "@length/x"]))
def test_a_metric_is_found_whatever_its_scorer_reference_set_or_tag_is_called(scorer, name, reference, tag):
    for full in (name, f"{scorer}/{name}", f"{name}/{reference}", f"{scorer}/{name}/{reference}"):
        assert find(full + tag) is METRICS[name]


def test_a_metric_of_a_plug_in_that_nobody_knows_is_a_plain_hidden_number():
    for name in ("my_flag", "gold/my_flag"):
        metric = find(name)
        assert (metric.kind, metric.shown, metric.title, metric.worth) == ("number", False, "", None)
        assert label(name).startswith("my flag")
        assert interval(name) is stats.mean


def test_labels_are_words():
    for metric in (*METRICS.values(), *FACTS.values()):
        assert metric.label
        assert "_" not in metric.label
        assert label(metric.name) == metric.label


def test_what_is_worth_telling_has_a_sentence_and_a_picture():
    for metric in WATCHED:
        fields = {field for _, field, _, _ in Formatter().parse(metric.sentence) if field}
        assert {"before", "now", "then", "change"} <= fields <= {"before", "now", "then", "change", "more"}
        assert metric.title
        signal = Signal(name=metric.name, against=(3,), before=0.5, now=0.25)
        assert "step 3" in messages.note(signal)
        assert metric.label in messages.notice([signal])


@pytest.mark.parametrize("name", HEADLINES)
def test_headlines_are_charts_that_w_and_b_opens_with(name):
    assert METRICS[name].shown
    assert METRICS[name].tagged


def test_a_text_metric_is_whatever_the_list_of_text_metrics_holds():
    rows = [[Completion(prompt_id="1", text="x y")], [Completion(prompt_id="2", text="")]]
    found = text_metrics.of_texts(rows)
    assert list(found) == [metric.name for metric, _ in text_metrics.TEXT_METRICS]
    assert all(x.shape == (2, 1) for x in found.values())
    assert math.isnan(found["length"][0, 0])


def against(references, *, texts, samples=1):
    """A point of these answers, by a judge of rewards that depend on the text alone."""
    rows = [[Completion(prompt_id=p.id, text=t)] * samples for p, t in zip(PROMPTS, texts, strict=True)]
    values = ScorerSet({"main": SaysLength()}, PROMPTS).values(rows, [references])
    table = Table(prompt_ids=tuple(p.id for p in PROMPTS), completions=tuple(map(tuple, rows)), values=values)
    return tables.point(0, table, prompts=PROMPTS, metric="win_prob", references=references)


class SaysLength:
    scale, fingerprint = "logit", "length"

    def score(self, prompts, completions):
        return [float(len(c.text)) for c in completions]


@given(st.lists(st.text(max_size=9), min_size=30, max_size=30), st.integers(1, 3), st.integers(0, 29))
def test_answers_against_themselves_are_even_by_definition_and_have_no_interval(texts, samples, other):
    references = ReferenceSet(
        name="initial",
        completions=tuple(Completion(prompt_id=p.id, text=t) for p, t in zip(PROMPTS, texts, strict=True)),
    )
    same = against(references, texts=texts, samples=samples)
    for name in ("win_prob", "win_rate", "win_prob@t"):
        e = same.metrics[name]
        assert e.value == 0.5
        assert math.isnan(e.low)
        assert math.isnan(e.high)
        assert messages.interval(e, name) == "by definition, 30 prompts"
    assert math.isfinite(same.metrics["reward"].low)
    texts[other] += "!"  # one answer is another: that is measured
    assert math.isfinite(against(references, texts=texts, samples=samples).metrics["win_prob"].low)


def test_ties_of_a_judge_that_sees_no_difference_are_measured():
    references = ReferenceSet(
        name="chosen", completions=tuple(Completion(prompt_id=p.id, text="yes") for p in PROMPTS)
    )
    point = against(references, texts=["nay"] * 30)
    assert point.metrics["tie_rate"].value == 1.0
    assert math.isfinite(point.metrics["win_rate"].low)
