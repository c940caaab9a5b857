"""What a run wrote, read by those who know only its documentation, and as tables."""

import csv
import io
import json
import re
import zlib
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from rm_monitor import load_run
from rm_monitor.cli import app
from rm_monitor.errors import NotFoundError
from tests.report.test_runs import N, falling, train


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("records") / "run"
    train(folder, falling, 5)
    return folder


def call(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments])


# ---------------------------------------------------- a reader of 30 lines that knows docs/records.md only
def lines(path):
    for line in path.read_text(encoding="ascii").splitlines():
        body, crc = re.fullmatch(r'(.*),"crc":"([0-9a-f]{8})"\}', line).groups()
        assert zlib.crc32((body + "}").encode()) == int(crc, 16)
        yield json.loads(line)


def living(folder):
    """The newest line of each step, unless a later attempt resumed from before it."""
    found = sorted(lines(folder / "history.jsonl"), key=lambda line: line["seq"])
    attempts = found[-1]["attempts"]
    for line in {line["step"]: line for line in found}.values():
        later = [start for start in attempts[len(line["attempts"]) :] if start is not None]
        if line["schema"] == 3 and all(line["step"] <= start for start in later):
            yield line


def mean_over_prompts(folder, line, metric):
    by_prompt = {}
    for row in lines(folder / line["rows"]["file"]):
        if row["values"][metric] is not None:
            by_prompt.setdefault(row["prompt_id"], []).append(row["values"][metric])
    means = [sum(values) / len(values) for values in by_prompt.values()]
    return sum(means) / len(means), len(means)


# -------------------------------------------------------------------------------------------------------


def test_a_reader_that_knows_only_the_documented_schema_recomputes_every_headline(run):
    folder = run / "_rm_monitor"
    read = list(living(folder))
    assert [line["step"] for line in read] == [point.step for point in load_run(run).curve]
    for line in read:
        for metric in ("win_rate", "reward", "length"):
            value, n = mean_over_prompts(folder, line, metric)
            assert value == pytest.approx(line["metrics"][metric][0], rel=1e-12)
            assert n == line["metrics"][metric][3] == N


def test_every_field_that_a_line_has_is_documented(run):
    told = (Path(__file__).parents[2] / "docs" / "records.md").read_text(encoding="utf-8")
    folder = run / "_rm_monitor"
    for path in [folder / "history.jsonl", *(folder / "rows").glob("*.jsonl")]:
        for name in json.loads(path.read_text().splitlines()[0]):
            assert f"`{name}`" in told, f"{name} of {path.name}"


def test_the_curve_as_a_data_frame_holds_every_number_of_every_point(run):
    found = load_run(run)
    frame = found.to_pandas()
    assert list(frame["step"]) == [p.step for p in found.curve]
    for i, point in enumerate(found.curve):
        for name, estimate in point.metrics.items():
            row = frame.loc[i, [name, f"{name}_low", f"{name}_high", f"{name}_n"]].to_numpy(dtype=float)
            np.testing.assert_allclose(row, estimate, equal_nan=True)


def test_the_mean_of_the_completions_is_the_point(run):
    found = load_run(run)
    means = (
        found.to_pandas("completions")
        .groupby(["step", "prompt_id"])["win_rate"]
        .mean()
        .groupby("step")
        .mean()
    )
    assert means.to_dict() == pytest.approx({p.step: p.metrics["win_rate"].value for p in found.curve})


def test_completions_come_with_what_was_asked_and_what_they_are_compared_with(run):
    row = load_run(run).to_pandas("completions").iloc[3]
    assert (row["prompt"], row["reference"], row["tags"]) == ("Say 3.", "x" * 10, "odd")
    assert len(row["completion"]) == falling(0, 3)


def test_arrow_and_pandas_say_the_same(run):
    found = load_run(run)
    for kind in ("curve", "completions"):
        assert (
            found.to_arrow(kind).to_pylist()
            == found.to_arrow(kind).from_pandas(found.to_pandas(kind)).to_pylist()
        )


def test_completions_of_a_step_of_the_best_and_of_the_latest(run):
    found = load_run(run)
    steps = [p.step for p in found.curve]
    assert found.completions() == found.completions(steps[-1])
    assert found.completions("best") == found.completions(found.verdict.best.step)
    with pytest.raises(NotFoundError, match="the judged steps"):
        found.completions(10**6)


@pytest.mark.parametrize("completions", [(), ("--completions",)])
def test_the_csv_reads_back_as_the_frame(run, completions, tmp_path):
    printed = call("export", run, "--csv", *completions)
    assert printed.exit_code == 0
    rows = list(csv.DictReader(io.StringIO(printed.stdout)))
    columns = load_run(run).columns("completions" if completions else "curve")
    for name, column in columns.items():
        assert [row[name] for row in rows] == ["" if x is None else str(x) for x in column]
    assert call("export", run, "--csv", *completions, "-o", tmp_path / "x.csv").exit_code == 0
    assert (tmp_path / "x.csv").read_text(encoding="utf-8") == printed.stdout


def test_the_parquet_reads_back_as_the_table(run, tmp_path):
    import pyarrow.parquet as pq

    assert call("export", run, "--parquet", "-o", tmp_path / "x.parquet").exit_code == 0
    assert pq.read_table(tmp_path / "x.parquet").equals(load_run(run).to_arrow())


def test_the_chart_holds_the_headline_of_every_point_and_marks_the_best(run):
    chart = json.loads(call("export", run, "--vega").stdout)
    found = load_run(run)
    assert [(v["step"], v["value"]) for v in chart["data"]["values"]] == [
        (p.step, p.metrics[found.metric].value) for p in found.curve
    ]
    assert [v["step"] for v in chart["data"]["values"] if v["best"]] == [found.verdict.best.step]


@pytest.mark.parametrize("wrong", [(), ("--csv", "--vega"), ("--parquet",), ("--vega", "--completions")])
def test_an_export_that_says_nothing_clear_is_wrong_use(run, wrong):
    assert isinstance(call("export", run, *wrong).exception, ValueError)


def test_inspect_gets_a_log_a_step_with_a_sample_an_answer_and_our_numbers(run, tmp_path):
    done = call("export", run, "--inspect", "-o", tmp_path / "logs")
    assert done.exit_code == 0, done.output
    found = load_run(run)
    logs = sorted((tmp_path / "logs").glob("*.json"))
    assert len(logs) == len(found.curve)
    for path, point in zip(logs, found.curve, strict=True):
        log = json.loads(path.read_text(), parse_constant=pytest.fail)
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d\S*_step-\d+_\w+\.json", path.name)  # or unlisted
        assert (log["version"], log["status"]) == (2, "success")
        assert {"created", "task", "dataset", "model", "config"} <= set(log["eval"])  # what EvalSpec demands
        mean = {s["name"]: s["metrics"]["mean"]["value"] for s in log["results"]["scores"]}
        assert mean["win_rate"] == pytest.approx(point.metrics["win_rate"].value)
        scores = [sample["scores"]["win_rate"]["value"] for sample in log["samples"]]
        assert np.mean(scores) == pytest.approx(point.metrics["win_rate"].value)
        texts = [sample["output"]["choices"][0]["message"]["content"] for sample in log["samples"]]
        assert texts == [row[0].text for row in found.completions(point.step)]


def test_inspects_own_reader_takes_them(run, tmp_path):
    reader = pytest.importorskip("inspect_ai.log", reason="needs inspect_ai")
    call("export", run, "--inspect", "-o", tmp_path / "logs")
    listed = reader.list_eval_logs(str(tmp_path / "logs"))
    assert [reader.read_eval_log(info).status for info in listed] == ["success"] * 5
