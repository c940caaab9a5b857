"""Scores kept across runs: never stale, never fatal, and a person can look at them, carry and forget them."""

import json
import multiprocessing
import sqlite3

import numpy as np
import pytest
from typer.testing import CliRunner

from rm_monitor import RewardMonitor
from rm_monitor.cache import scores as scores_module
from rm_monitor.cache.cached import CachedScorer
from rm_monitor.cache.maintenance import contents, prune, verify
from rm_monitor.cache.scores import ScoreStore
from rm_monitor.cache.transfer import export_scores, import_scores
from rm_monitor.cli import app
from rm_monitor.scorers import Ensemble
from rm_monitor.types import Completion, Prompt, Scores

A, B = {"name": "rm", "dtype": "float32"}, {"name": "rm", "dtype": "bfloat16"}


def key(i):
    return i.to_bytes(16, "big")


def filled(path, count=10, model=A, start=0):
    store = ScoreStore(path)
    store.put(
        {key(i): {"reward": i / 7, "attribute:x": float("nan")} for i in range(start, start + count)},
        model=model,
    )
    return store


@pytest.fixture
def store(tmp_path):
    return filled(tmp_path / "scores.sqlite")


# ------------------------------------------------------------------ the wrapped scorer


class Counting:
    """Scores by length; counts what it was asked."""

    name, fingerprint, scale, cacheable = "counting", "counting", "logit", True

    def __init__(self, shift=0.0):
        self.asked, self.shift = [], shift

    def keys(self, prompts, completions):
        return [key(sum(map(ord, c.text))) for c in completions]

    def score(self, prompts, completions):
        self.asked += [c.text for c in completions]
        reward = [np.nan if c.text == "?" else len(c.text) + self.shift for c in completions]
        return Scores(
            reward=np.array(reward, dtype=float),
            attributes={"half": np.array(reward, dtype=float) / 2},
            flags={"overflow": np.array([c.text == "?" for c in completions])},
        )


def rows(texts):
    prompts = [Prompt(id=str(i), messages=({"role": "user", "content": "Q"},)) for i in range(len(texts))]
    return prompts, [Completion(prompt_id=str(i), text=t) for i, t in enumerate(texts)]


TEXTS = ["a" * i for i in range(1, 201)]


def test_a_kept_score_is_the_score_with_its_attributes_and_flags(tmp_path):
    texts = [*TEXTS[:20], "?"]
    first = CachedScorer(Counting(), ScoreStore(tmp_path / "s")).score(*rows(texts))
    again = CachedScorer(Counting(), ScoreStore(tmp_path / "s")).score(*rows(texts))
    np.testing.assert_array_equal(again.reward, first.reward)
    np.testing.assert_array_equal(again.attributes["half"], first.attributes["half"])
    np.testing.assert_array_equal(again.flags["overflow"], first.flags["overflow"])


def test_two_percent_of_the_hits_are_scored_again_and_others_each_time(tmp_path):
    CachedScorer(Counting(), ScoreStore(tmp_path / "s")).score(*rows(TEXTS))
    asked = []
    for _ in range(20):
        scorer = Counting()
        cached = CachedScorer(scorer, ScoreStore(tmp_path / "s"))
        cached.score(*rows(TEXTS))
        assert (len(scorer.asked), cached.hits, cached.misses) == (4, 200, 0)
        asked.append(tuple(sorted(scorer.asked)))
    assert len(set(asked)) > 10  # a fixed choice would look at the same four for ever


def test_what_could_not_be_scored_is_not_kept(tmp_path):
    scorer = Counting()
    cached = CachedScorer(scorer, ScoreStore(tmp_path / "s"))
    for _ in range(2):
        assert np.isnan(cached.score(*rows(["?"])).reward).all()
    assert scorer.asked == ["?", "?"]


def test_one_wrong_score_discredits_the_cache_and_none_of_it_is_served(tmp_path, caplog):
    CachedScorer(Counting(), ScoreStore(tmp_path / "s")).score(*rows(TEXTS))
    changed = CachedScorer(Counting(shift=1.0), ScoreStore(tmp_path / "s"))  # the key forgot something

    reward = changed.score(*rows(TEXTS)).reward

    np.testing.assert_array_equal(reward, [len(t) + 1 for t in TEXTS])  # all of them, not only the 2 %
    assert changed.wrong >= 1
    assert "scoring again gives" in caplog.text
    np.testing.assert_array_equal(ScoreStore(tmp_path / "s").get([key(97)])[key(97)]["reward"], 2.0)


def test_after_one_wrong_score_the_rest_of_the_run_asks_the_cache_nothing(tmp_path):
    store = ScoreStore(tmp_path / "s")
    texts = TEXTS[100:]
    CachedScorer(Counting(), store).score(*rows(TEXTS))
    (wrong,) = Counting().keys(*rows(texts[50:51]))
    store.drop([wrong])
    store.put({wrong: {"reward": 7.0, "attribute:half": 3.5}})  # one among a hundred: 2 % would miss it
    (other,) = Counting().keys(*rows(TEXTS[:1]))
    store.drop([other])
    store.put({other: {"reward": 7.0, "attribute:half": 3.5}})
    cached = CachedScorer(Counting(), store)
    assert cached.score(*rows(TEXTS[:1])).reward[0] == 1.0  # a single hit is always scored again
    np.testing.assert_array_equal(cached.score(*rows(texts)).reward, [len(t) for t in texts])
    assert (cached.wrong, cached.hits) == (1, 0)


def test_noise_is_measured_once_a_fingerprint_on_this_machine(store):
    class Measures(Counting):
        measured = 0

        @property
        def noise(self):
            Measures.measured += 1
            return 0.25

    class Other(Measures):
        fingerprint = "another"

    assert CachedScorer(Measures(), store).noise == 0.25
    once = Measures.measured
    assert CachedScorer(Measures(), store).noise == 0.25
    assert Measures.measured == once
    assert CachedScorer(Other(), store).noise == 0.25
    assert Measures.measured > once


def test_noise_the_scorer_measured_of_itself_is_no_wrong_score(tmp_path):
    CachedScorer(Counting(), ScoreStore(tmp_path / "s")).score(*rows(TEXTS))
    noisy = Counting(shift=0.03)
    noisy.noise = 0.01
    cached = CachedScorer(noisy, ScoreStore(tmp_path / "s"))
    cached.score(*rows(TEXTS[:5]))
    assert (cached.wrong, cached.hits) == (0, 5)


# ------------------------------------------------------------------ the file


def test_a_flipped_bit_is_a_miss_and_is_found(store, tmp_path):
    with sqlite3.connect(tmp_path / "scores.sqlite") as raw:
        raw.execute("update scores set value = replace(value, '0.142', '0.152') where key = ?", (key(1),))
    assert key(1) not in store.get([key(0), key(1)])
    assert verify(store) == (10, 1)
    assert verify(store) == (9, 0)


def test_a_file_that_is_no_database_is_put_aside_and_a_new_one_begun(tmp_path):
    path = tmp_path / "scores.sqlite"
    path.write_bytes(b"this is not a database" * 500)
    store = ScoreStore(path)
    assert store.get([key(1)]) == {}
    store.put({key(1): {"reward": 1.0}})
    assert ScoreStore(path).get([key(1)]) == {key(1): {"reward": 1.0}}
    assert len(list(tmp_path.glob("*.corrupt-*"))) == 1


def test_a_file_of_another_version_is_begun_again(tmp_path):
    path = tmp_path / "scores.sqlite"
    with sqlite3.connect(path) as raw:
        raw.execute("create table scores (key blob primary key, value text, crc integer)")
        raw.execute("insert into scores values (?, '{}', 0)", (key(1),))
    store = filled(path, 3)
    assert len(store) == 3


def test_a_full_disk_costs_hits_and_nothing_else(tmp_path, monkeypatch):
    store = ScoreStore(tmp_path / "s")
    store.put({key(1): {"reward": 1.0}})
    store.open().execute("pragma query_only=1")  # each write fails from now on
    store.put({key(2): {"reward": 2.0}})
    store.put({key(3): {"reward": 3.0}})
    assert store.get([key(3)]) == {key(3): {"reward": 3.0}}  # in memory


def _write(path, start):
    for i in range(start, start + 200, 10):
        filled(path, 10, start=i)


def test_two_processes_write_at_once_and_nothing_is_lost(tmp_path):
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_write, args=(tmp_path / "s", start)) for start in (0, 100)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    assert len(ScoreStore(tmp_path / "s")) == 300
    assert verify(ScoreStore(tmp_path / "s")) == (300, 0)


# ------------------------------------------------------------------ upkeep


def test_contents_tell_models_of_one_name_apart(store, tmp_path):
    filled(tmp_path / "scores.sqlite", 4, model=B, start=100)
    found = contents(store)
    assert [(m.name, m.scores) for m in found.models] == [("rm", 10), ("rm", 4)]
    assert "dtype=float32" in str(found)
    assert "dtype=bfloat16" in str(found)
    assert found.bytes > 0


@pytest.mark.parametrize("name", ["out.jsonl", "out.jsonl.gz"])
def test_scores_are_carried_to_another_machine(store, tmp_path, name):
    filled(tmp_path / "scores.sqlite", 4, model=B, start=100)
    other = filled(tmp_path / "other.sqlite", 2)
    assert export_scores(store, tmp_path / name) == 14
    assert import_scores(other, tmp_path / name) == (12, 14)
    wanted = [key(i) for i in (0, 9, 103)]
    assert json.dumps([other.get(wanted)[k] for k in wanted]) == json.dumps(
        [store.get(wanted)[k] for k in wanted]
    )
    assert contents(other).models == contents(store).models


@pytest.mark.parametrize(
    "damage",
    [
        lambda lines: ['{"format": "something else"}', *lines[1:]],
        lambda lines: [*lines[:-1], lines[-1].replace("1.2857", "1.3857")],
        lambda lines: [lines[0], *lines[2:]],
        lambda lines: [*lines, "not json"],
    ],
    ids=["format", "value", "model", "json"],
)
def test_a_file_that_is_not_as_it_was_written_is_refused(store, tmp_path, damage):
    file = tmp_path / "out.jsonl"
    export_scores(store, file)
    file.write_text("\n".join(damage(file.read_text().splitlines())))
    with pytest.raises(ValueError, match=r"line \d+ of .* is not an exported score"):
        import_scores(ScoreStore(tmp_path / "other"), file)


def test_scores_are_forgotten_by_model_by_age_or_all(store, tmp_path, monkeypatch):
    filled(tmp_path / "scores.sqlite", 4, model=B, start=100)
    small = contents(store).models[1].id
    assert prune(store, model=small[:8]) == 4
    assert prune(store, older_than=0) == 0  # all of today
    now = scores_module.time.time() + 3 * 86_400
    monkeypatch.setattr(scores_module.time, "time", lambda: now)
    assert prune(store, older_than=5) == 0
    assert prune(store, older_than=2) == 10
    assert prune(filled(tmp_path / "scores.sqlite", 3), everything=True) == 3
    assert contents(store).models == ()


def test_forgetting_without_saying_what_is_refused(store):
    with pytest.raises(ValueError, match="say what to forget"):
        prune(store)
    with pytest.raises(ValueError, match="no model's id begins with 'zz'"):
        prune(store, model="zz")


def test_the_commands_do_what_they_say(store, tmp_path):
    def run(*arguments):
        done = CliRunner().invoke(app, ["cache", *map(str, arguments), "--file", str(store.path)])
        return done.exit_code, done.stdout

    assert "10 scores" in run("stats")[1]
    assert json.loads(run("stats", "--json")[1])["models"][0]["name"] == "rm"
    assert run("verify") == (0, "10 scores checked, 0 damaged\n")
    assert "10 scores written" in run("export", tmp_path / "out.jsonl")[1]
    assert run("prune", "--all") == (0, "10 scores forgotten\n")
    assert run("import", tmp_path / "out.jsonl") == (0, "10 of 10 scores added\n")
    with sqlite3.connect(store.path) as raw:
        raw.execute("update scores set crc = 0 where key = ?", (key(1),))
    assert run("verify") == (1, "10 scores checked, 1 damaged and dropped\n")


def test_every_point_says_what_scoring_cost_and_what_the_cache_spared(
    tmp_path, tiny_policy, tiny_tokenizer, tiny_reward_model_dir
):
    folder = str(tiny_reward_model_dir)
    judges = {"judge": folder, "both": Ensemble({"a": folder, "b": folder})}
    found = []
    for run in ("first", "again"):
        monitor = RewardMonitor(
            judges, ["One?", "Two?"], references=["1", "2"], output_dir=tmp_path / run, report_to=[]
        )
        point = monitor.evaluate(tiny_policy, tiny_tokenizer, step=0)
        assert point.status == "ok", point.reason
        found.append(point.measured)
    first, again = found
    assert first["cache_hits"] == pytest.approx(2 / 3)  # the ensemble's members are the judge
    assert first["score_tokens"] > 8
    assert first["score_tokens_per_second"] > 0
    assert again["cache_hits"] == 1.0
    assert again["score_tokens"] < first["score_tokens"]  # a few hits are scored again
