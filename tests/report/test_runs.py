"""Runs read from disk: the page that the run wrote, two points compared, a file judged, and exit codes."""

import json
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from rm_monitor import RewardMonitor, Sampling, messages, runs
from rm_monitor.cli import app
from rm_monitor.errors import NotFoundError
from rm_monitor.records.verdicts import read_verdict
from rm_monitor.types import Completion

N = 24
PROMPTS = [
    {"id": f"p{i}", "prompt": f"Say {i}.", "chosen": "x" * 10, "tags": ["even" if i % 2 == 0 else "odd"]}
    for i in range(N)
]


class Lengths:
    """Answers of a known length; even prompts fall at the last evaluation."""

    def __init__(self, lengths):
        self.lengths, self.asked = lengths, -1

    def generate(self, prompts, sampling, *, seed=0, model=None, tokenizer=None, progress=None):
        self.asked += 1
        return [
            Completion(
                prompt_id=p.id,
                text="a" * max(self.lengths(self.asked, i), 1),
                n_tokens=5,
                finish_reason="stop",
            )
            for i, p in enumerate(prompts)
        ]


def longer(prompts, completions):
    return [len(c) / 2 for c in completions]


def falling(k, i):
    return (8, 12, 15, 15, 3 if i % 2 == 0 else 13)[k] + (i * 7 + k * 3) % 4


def train(folder, lengths, evaluations, **settings):
    monitor = RewardMonitor(
        longer,
        PROMPTS,
        "chosen",
        output_dir=folder,
        generator=Lengths(lengths),
        report_to="none",
        sampling=Sampling(max_new_tokens=8),
        metric="win_rate",
        **settings,
    )
    for k in range(evaluations):
        monitor.evaluate(step=100 * k)
    monitor.close()
    return monitor


@pytest.fixture(scope="module")
def fell(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fell")
    return folder, train(folder, falling, 5)


@pytest.fixture(scope="module")
def fine(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fine")
    return folder, train(folder, lambda k, i: 8 + k + (i * 7 + k * 3) % 4, 4)


def call(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments])


# ------------------------------------------------------------------ reading


def test_a_run_is_read_back_as_it_was(fell):
    folder, monitor = fell
    run = runs.load_run(folder)
    assert run.verdict == monitor.verdict
    assert run.prompts == tuple(monitor.settings.prompts)
    assert run.references[0].completions == monitor._parts.evaluator.references[0].completions
    assert [p.step for p in run.curve] == [0, 100, 200, 300, 400]


def test_a_verdict_of_another_curve_is_not_believed(fell):
    folder, monitor = fell
    points = list(runs.load_run(folder).curve)
    assert read_verdict(folder / "_rm_monitor", points) == monitor.verdict
    assert read_verdict(folder / "_rm_monitor", points[:-1]) is None
    assert read_verdict(folder / "_rm_monitor", [*points[:-1], replace(points[-1], status="partial")]) is None


def test_without_the_file_the_verdict_is_worked_out_again(fell, tmp_path):
    import shutil

    folder, monitor = fell
    shutil.copytree(folder, tmp_path / "copy")
    (tmp_path / "copy" / "_rm_monitor" / "verdict.json").unlink()
    again = runs.load_run(tmp_path / "copy").verdict
    assert (again.state, again.step, again.states, again.drop) == (
        monitor.verdict.state,
        monitor.verdict.step,
        monitor.verdict.states,
        monitor.verdict.drop,
    )


def test_the_page_written_while_training_is_the_page_written_afterwards(fell, tmp_path):
    folder, _ = fell
    live = (folder / "_rm_monitor" / "report.html").read_bytes()
    done = call("report", folder, "-o", tmp_path / "again.html")
    assert done.exit_code == 0, done.output
    assert (tmp_path / "again.html").read_bytes() == live


# ------------------------------------------------------------------ exit codes


def test_report_exits_1_on_a_degraded_run_only_if_asked(fell, fine, tmp_path):
    assert fell[1].verdict.state == "degraded"
    assert call("report", fell[0], "-o", tmp_path / "a.html").exit_code == 0
    assert call("report", fell[0], "-o", tmp_path / "a.html", "--exit-code").exit_code == 1
    assert call("report", fine[0], "-o", tmp_path / "b.html", "--exit-code").exit_code == 0
    assert call("report", fine[0], fell[0], "-o", tmp_path / "c.html", "--exit-code").exit_code == 1


def test_json_and_markdown_say_the_same(fell):
    found = json.loads(call("report", fell[0], "--json").stdout)
    text = call("report", fell[0], "--markdown").stdout
    assert found["state"] == "degraded"
    assert found["headline"] == messages.headline(fell[1].verdict)
    assert found["headline"].split(". ")[1] in text


def test_two_chosen_steps_are_laid_side_by_side(fell, tmp_path):
    call("report", fell[0], "-o", tmp_path / "p.html", "--compare", 0, 200)
    assert "From step 0 to step 200" in (tmp_path / "p.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["report", "{empty}"], 1),
        (["report", "{run}", "--compare", "0", "7"], 1),
        (["report", "{run}", "--rows", "many"], 2),
        (["report"], 2),
        (["compare", "0", "7", "--run", "{run}"], 1),
        (["compare", "0", "nothing", "--run", "{run}"], 1),
        (["compare", "0", "{file}", "--run", "{run}"], 2),
        (["compare", "200", "400", "--run", "{run}"], 0),
        (["compare", "200", "400", "--run", "{run}", "--exit-code"], 1),
        (["compare", "0", "200", "--run", "{run}"], 0),
        (["best", "{empty}"], 1),
        (["score", "{file}", "--config", "{file}"], 2),
    ],
)
def test_exit_codes(fell, tmp_path, arguments, code, monkeypatch, capsys):
    import sys

    from rm_monitor.cli import main

    (tmp_path / "file.jsonl").write_text("{}\n")
    places = {"empty": tmp_path / "none", "run": fell[0], "file": tmp_path / "file.jsonl"}
    monkeypatch.setattr(sys, "argv", ["rm-monitor", *(a.format(**places) for a in arguments)])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == code


# ------------------------------------------------------------------ compare


def test_compare_is_the_paired_difference_and_names_what_flipped(fell):
    run = runs.load_run(fell[0])
    a, b = (p.values["win_rate"] for p in (run.curve[2], run.curve[4]))
    found = runs.compare("200", "400", run=fell[0])
    assert found.change["win_rate"].value == pytest.approx(float(np.mean(b - a)))
    assert set(found.lost) == {p["id"] for p, x, y in zip(PROMPTS, a, b) if x > 0.5 > y}
    assert found.gained == ()
    assert found.is_worse
    assert found.better + found.worse + found.same == N


def test_compare_by_tag_puts_the_worst_first(fell):
    found = runs.compare("200", "400", run=fell[0])
    assert list(found.tags) == ["even", "odd"]
    assert found.tags["even"].n == found.tags["odd"].n == N // 2
    assert found.tags["even"].value < found.tags["odd"].value


def test_swapping_sides_swaps_everything(fell):
    ab, ba = runs.compare("200", "400", run=fell[0]), runs.compare("400", "200", run=fell[0])
    assert ab.lost == tuple(ba.gained)
    assert (ab.better, ab.worse) == (ba.worse, ba.better)
    assert ab.change["win_rate"].value == -ba.change["win_rate"].value
    assert ab.head_to_head.value == pytest.approx(1 - ba.head_to_head.value)


def test_a_point_against_itself_is_the_same(fell):
    found = runs.compare("200", f"{fell[0]}:200", run=fell[0])
    assert found.change["win_rate"][:3] == (0.0, pytest.approx(0.0), pytest.approx(0.0))
    assert (found.better, found.worse, found.same) == (0, 0, N)
    assert not found.is_worse


def test_runs_of_one_set_up_are_compared_by_their_latest_points(fell, fine):
    found = runs.compare(str(fine[0]), str(fell[0]))
    assert found.change["win_rate"].value < 0
    assert runs.compare("best", str(fell[0]), run=fell[0]).is_worse


def test_what_is_not_there_is_said_with_what_is(fell):
    with pytest.raises(NotFoundError, match=r"judged steps are \[0, 100, 200, 300, 400\]"):
        runs.compare("0", "7", run=fell[0])


def test_json_of_a_comparison_has_no_nan(fell):
    done = call("compare", "200", "400", "--run", fell[0], "--json")
    assert json.loads(done.stdout, parse_constant=pytest.fail)["worse_than_a"] is True


def test_prompts_without_a_score_on_one_side_are_counted_and_left_out_of_both(fell):
    a, b = runs.load_run(fell[0]).curve[2], runs.load_run(fell[0]).curve[4]
    half = {m: np.where(np.arange(N) < 6, np.nan, x) for m, x in b.values.items()}
    found = runs.compare_points(a, replace(b, values=half), names=("a", "b"))
    assert found.left_out == 6
    assert "6 prompts are left out" in str(found)
    for metric, change in found.change.items():
        assert change.value == pytest.approx(found.after[metric].value - found.before[metric].value)
        assert change.n == found.before[metric].n == found.after[metric].n == N - 6


def test_prompts_are_named_by_row_and_words_and_shown_with_both_answers(fell):
    text = call("compare", "200", "400", "--run", fell[0], "--show", 2).stdout
    found = runs.compare("200", "400", run=fell[0], show=2)
    assert "row 1 'Say 0.'" in text
    assert "p0," not in text
    fall = [found.pairs[k] for k in (0, 1)]
    assert all(pair.label in text and pair.prompt in text for pair in fall)
    assert len(fall[0].answers[0]) > len(fall[0].answers[1])
    assert json.loads(call("compare", "0", "400", "--run", fell[0], "--show", 1, "--json").stdout)["pairs"]


def test_runs_that_were_measured_otherwise_say_in_what(fell, tmp_path):
    other = RewardMonitor(
        longer,
        PROMPTS[:8],
        "chosen",
        output_dir=tmp_path,
        generator=Lengths(falling),
        report_to="none",
        metric="win_rate",
        seed=7,
    )
    other.evaluate(step=0)
    other.close()
    with pytest.raises(ValueError, match=r"prompts: 24 .* / 8 .*seed: 0 / 7"):
        runs.compare(str(fell[0]), str(tmp_path))
