"""The doctor finds what is wrong with a reward model, and says what is right."""

import gzip
import json
import re

import numpy as np
import pytest
from typer.testing import CliRunner

from rm_monitor.cli import app
from rm_monitor.doctor import Pair, Report, checks, examine, fit_temperature, load_pairs
from rm_monitor.doctor.pairs import agreement
from rm_monitor.doctor.probes import PROBES
from rm_monitor.scorers import load_scorer
from rm_monitor.types import Preferences, Scores
from tests.scorers.conftest import LLAMA3, LLAMA3_TRAILING, llama_config, make_tokenizer, save, scaled

GOOD = {(pair.prompt.id, pair.chosen) for pair in PROBES}


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(checks, "SECONDS", 0.0)  # one round is enough for a throughput nobody reads


class Judge:
    """Knows the good answers, and has whatever illness a test gives it."""

    name, fingerprint, scale = "judge", "judge", "logit"

    def __init__(self, ill=lambda rewards: rewards, **more):
        self.ill, self.calls = ill, 0
        self.__dict__.update(more)

    def score(self, prompts, completions):
        self.calls += 1
        rewards = [(2.0 if (c.prompt_id, c.text) in GOOD else -2.0) + len(c.text) / 1000 for c in completions]
        return Scores(reward=np.asarray(self.ill(np.array(rewards)), dtype=float))


def levels(report):
    return {finding.level for finding in report.findings}


def says(report, pattern):
    return any(re.search(pattern, f.text) for f in report.findings if f.level != "fine")


def test_a_good_judge_is_fine():
    report = examine(Judge())
    assert report.exit_code == 0
    assert "20 of 20 plainly good answers" in str(report)
    assert "verdict: fine" in str(report)


@pytest.mark.parametrize(
    ("ill", "pattern", "exit_code"),
    [
        (lambda r: -r, r"sign or the label reversed", 1),
        (lambda r: r * np.tile([1, -1], len(r) // 2), "which is chance", 1),
        (lambda r: 1 / (1 + np.exp(-r)), "as if a sigmoid had been applied", 1),
        (lambda r: np.zeros(len(r)), "has collapsed", 2),
        (lambda r: np.where(np.arange(len(r)) == 3, np.nan, r), "got no score", 2),
        (lambda r: r + np.arange(len(r)) * 0.1, "two equal answers in one batch score differently", 1),
        (lambda r: r[:-1], "must return one score a completion", 2),
    ],
    ids=["reversed", "chance", "sigmoid", "collapsed", "unscored", "neighbours", "too few"],
)
def test_each_illness_is_found(ill, pattern, exit_code):
    report = examine(Judge(ill))
    assert says(report, pattern), str(report)
    assert report.exit_code == exit_code


def test_scores_that_change_from_call_to_call_are_found():
    judge = Judge()
    judge.ill = lambda r: r + judge.calls * 0.01
    assert says(examine(judge), "scoring twice differs")


class Comparer:
    """A preference model; ``one_order`` gives the probability of the completion as the first answer."""

    name, fingerprint, scale = "comparer", "comparer", "logit"

    def __init__(self, first=0.0):
        self.first = first

    def prefer(self, prompts, completions, references):
        good = [(c.prompt_id, c.text) in GOOD for c in completions]
        same = [c.text == r.text for c, r in zip(completions, references, strict=True)]
        p = np.where(same, 0.5, np.where(good, 0.9, 0.1)) + self.first
        return Preferences(probability=p, order_gap=np.full(len(p), self.first))


def test_a_symmetric_preference_model_is_fine_and_a_lopsided_one_is_not():
    assert examine(Comparer()).exit_code == 0
    report = examine(Comparer(first=0.05))
    assert says(report, "compared with itself")
    assert says(report, "swapping the sides")


# ------------------------------------------------------------------ labelled pairs


def pairs_file(folder, rows, name="pairs.jsonl"):
    path = folder / name
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


LAYOUTS = {
    "text": {"prompt": "Q", "chosen": "good", "rejected": "bad"},
    "messages": {
        "prompt": [{"role": "user", "content": "Q"}],
        "chosen": [{"role": "assistant", "content": "good"}],
        "rejected": [{"role": "assistant", "content": "bad"}],
    },
    "implicit prompt": {
        "chosen": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "good"}],
        "rejected": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "bad"}],
    },
    "llmbar": {"input": "Q", "output_1": "bad", "output_2": "good", "label": 2},
    "pandalm": {
        "instruction": "Q",
        "input": "",
        "response1": "good",
        "response2": "bad",
        "annotator1": 1,
        "annotator2": 1,
        "annotator3": 2,
    },
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_labelled_pairs_are_read_in_every_layout(layout, tmp_path):
    (pair,) = load_pairs(pairs_file(tmp_path, [LAYOUTS[layout]]))
    assert pair.prompt.messages == ({"role": "user", "content": "Q"},)
    assert (pair.chosen, pair.rejected) == ("good", "bad")


def test_a_gzipped_json_list_is_read_and_pairs_without_a_winner_are_left_out(tmp_path):
    undecided = LAYOUTS["pandalm"] | {"annotator2": 0}
    path = tmp_path / "pairs.json.gz"
    path.write_bytes(gzip.compress(json.dumps([LAYOUTS["pandalm"], undecided]).encode()))
    assert len(load_pairs(path)) == 1


def test_an_answer_that_is_a_json_literal_is_text(tmp_path):
    (pair,) = load_pairs(pairs_file(tmp_path, [LAYOUTS["text"] | {"rejected": False}]))
    assert pair.rejected == "False"


@pytest.mark.parametrize("row", [{"question": "Q"}, [1], LAYOUTS["text"] | {"chosen": {"text": "x"}}])
def test_a_row_that_is_no_pair_is_refused_with_its_line(row, tmp_path):
    with pytest.raises(ValueError, match=r"jsonl line 2 is not a labelled pair.*: it needs `prompt`"):
        load_pairs(pairs_file(tmp_path, [LAYOUTS["text"], row]))


def test_why_pairs_are_unscored_is_said(folder):
    rows = [load_pair("short", "a"), load_pair("x" * 900, "a"), load_pair("Four.<|eot_id|>", "b")]
    report = examine(load_scorer(folder), rows)
    page = str(report)
    assert report.agreements[0].longer_wins.n == report.agreements[0].rate.n == 2  # on the same pairs
    assert "labelled pairs: 3, 1 unscored, 1 overflow, 1 special_text\n" in page


def load_pair(chosen, rejected):
    return Pair(PROBES[0].prompt, chosen, rejected)


def test_agreement_is_shown_beside_longer_wins(tmp_path):
    rows = [{"prompt": str(i), "chosen": "x" * (i % 3), "rejected": "y"} for i in range(30)]
    judge = Judge(scale="unknown")
    judge.score = lambda p, c: Scores(reward=np.array([float("y" in x.text) for x in c]))
    report = examine(judge, {"mine": load_pairs(pairs_file(tmp_path, rows))})
    (one,) = report.agreements
    assert one.rate.value == 0.0  # it prefers what was rejected, each time
    assert one.longer_wins.value == pytest.approx(0.5)  # shorter, equal and longer in turn
    assert one.prefers_longer.value == pytest.approx(0.5)
    assert says(report, "on mine it contradicts people")


def test_the_temperature_of_a_stretched_judge_is_found_and_told(tmp_path):
    rng = np.random.default_rng(0)
    gap = rng.normal(size=1500)
    first = rng.random(1500) < 1 / (1 + np.exp(-gap))
    rows = [
        {"prompt": str(i), "chosen": "a" if f else "b", "rejected": "b" if f else "a"}
        for i, f in enumerate(first)
    ]
    judge = Judge()
    judge.score = lambda p, c: Scores(
        reward=np.array([4 * gap[int(x.prompt_id.removeprefix("row-"))] * (x.text == "a") for x in c])
    )
    pairs = load_pairs(pairs_file(tmp_path, rows))
    assert fit_temperature(judge, pairs).temperature.value == pytest.approx(4, rel=0.15)
    page = str(
        Report(description="", findings=(), agreements=(agreement(judge, pairs),), has_probability=True)
    )
    assert re.search(r"temperature=[34]", page)
    assert re.search(r"its probabilities as it is   off by 0\.[12]", page)


# ------------------------------------------------------------------ models in this process


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    from transformers import LlamaForSequenceClassification

    tokenizer = make_tokenizer(LLAMA3)
    model = scaled(lambda: LlamaForSequenceClassification(llama_config(tokenizer, num_labels=1)))
    return save(tmp_path_factory.mktemp("rm"), model, tokenizer)


def test_the_numerics_of_a_model_in_this_process_are_checked(folder):
    report = examine(load_scorer(folder))
    assert report.exit_code < 2
    page = str(report)
    assert "batches and padding change a score by at most" in page
    assert "an answer cannot write any of the" in page
    assert "answers/s" in page


def test_a_second_beginning_of_sequence_is_unusable(folder):
    twice = LLAMA3.replace("{{ bos_token }}", "{{ bos_token }}{{ bos_token }}")
    report = examine(load_scorer(folder, chat_template=twice))
    assert says(report, "begin with 2 beginning-of-sequence tokens")
    assert report.exit_code == 2


def test_a_template_that_opens_another_turn_is_noticed(folder):
    report = examine(load_scorer(folder, chat_template=LLAMA3_TRAILING))
    assert says(report, "do not end where the answer ends")


def test_a_missing_beginning_of_sequence_is_noticed():
    from transformers import LlamaForSequenceClassification

    tokenizer = make_tokenizer(LLAMA3, adds_bos=True)
    model = scaled(lambda: LlamaForSequenceClassification(llama_config(tokenizer, num_labels=1)))
    scorer = load_scorer(model, tokenizer=tokenizer, bos="none")
    assert says(examine(scorer), "no beginning-of-sequence token")


# ------------------------------------------------------------------ the command


def doctor(*arguments):
    return CliRunner().invoke(app, ["doctor", *map(str, arguments)])


def test_the_command_prints_the_page_and_exits_with_the_verdict(folder, tmp_path):
    file = pairs_file(tmp_path, [LAYOUTS["text"], LAYOUTS["llmbar"]])
    done = doctor(folder, "--pairs", file)
    assert done.exit_code == 1, done.output  # two pairs are no better than a coin
    for fact in (
        "bradley_terry",
        "labelled pairs pairs.jsonl: 2",
        "longer answer wins",
        "verdict: suspicious",
    ):
        assert fact in done.output


def test_the_command_prints_json_for_a_program(folder, tmp_path):
    file = pairs_file(tmp_path, [LAYOUTS["text"]])
    done = CliRunner().invoke(app, ["doctor", str(folder), "--pairs", str(file), "--json"])
    found = json.loads(done.stdout, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert found["exit_code"] == done.exit_code == 1
    assert found["description"]["kind"] == "bradley_terry"
    assert {f["level"] for f in found["findings"]} <= {"fine", "look", "bad"}
    assert found["agreements"][0]["pairs"] == 1


def test_a_model_that_cannot_be_loaded_is_an_error_of_one_line(tiny_policy_dir):
    from rm_monitor.errors import ScorerError

    done = doctor(tiny_policy_dir)
    assert isinstance(done.exception, ScorerError)  # `main` prints it and exits with 2
