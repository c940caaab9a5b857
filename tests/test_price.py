"""Every benchmark runs from end to end on something small; what it measures then means nothing."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from accelerate.state import AcceleratorState

from benchmarks import engine, gpu, loop, others, overhead, scale, scoring

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rm_monitor-benchmarks"


def test_the_engine_is_measured_against_generate_and_its_own_linears(capsys):
    found = engine.main(["--quick"])
    assert set(found["rows"]) == {"engine", "generate, batch 4", "its linears", "its linears, packed"}
    assert "one thread" in capsys.readouterr().out  # machine and versions


def test_answering_is_measured_against_other_engines():
    found = others.main(["--quick"])
    assert list(found["rows"]) == ["engine", "generate_batch"]
    assert found["same"]["engine"] == [4]


def test_scoring_is_measured_against_transformers_for_equal_scores(capsys):
    found = scoring.main(["--quick"])
    assert "transformers, batch 8" in found["rows"]
    assert "one thread" in capsys.readouterr().out


def test_steps_that_are_not_due_and_scores_that_are_known_are_measured():
    found = overhead.main(["--quick"])
    assert len(found) == 4
    assert all(seconds > 0 for row in found.values() for seconds in row)


def test_the_growth_of_the_cost_is_measured(monkeypatch):
    monkeypatch.setenv("RM_MONITOR_CACHE", "")  # the benchmark has one of its own; put back afterwards
    found = scale.main(["--quick"])
    assert {"2 prompts", "4 prompts", "2 samples"} == set(found["rows"])
    assert set(found["free"]) == {1, 2, 3, 4}


@pytest.mark.skipif(
    not (CACHE / "trl-1.0.0").exists(), reason="the benchmark has not installed its peer here"
)
def test_the_peer_gives_the_same_completions_and_win_probability():
    command = [sys.executable, "-m", "benchmarks.peer", "--quick"]  # its own process: it loads another TRL
    done = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "TRL, batch 8" in done.stdout


@pytest.mark.parametrize("precision", [[], ["--autocast"]], ids=["float32", "mixed precision"])
def test_the_loop_of_a_competent_user_says_the_same(precision, monkeypatch):
    monkeypatch.setenv("RM_MONITOR_CACHE", "")  # the benchmark has one of its own; put back afterwards
    AcceleratorState._reset_state(reset_partial_state=True)
    found = loop.main(["--quick", *precision])
    assert {"rm_monitor", "loop, batch 5"} <= set(found["rows"])


def test_what_is_asked_of_a_gpu_runs_from_end_to_end_on_a_cpu(monkeypatch, tmp_path):
    monkeypatch.setenv("RM_MONITOR_CACHE", str(tmp_path))
    lines = gpu.main(["--tiny"])
    assert [line for line in lines if "failed" in line] == []
    assert {line["stage"][0] for line in lines} == set("012345678")
    same = [line for line in lines if line["stage"] == "1 same_tokens"]
    assert all(line["served"] and line["equal"] == line["of"] for line in same if "32" in line["dtype"])
    assert lines[-1]["bit_identical"]


def test_a_stage_that_fails_says_so_and_the_next_one_runs(monkeypatch):
    monkeypatch.setattr(gpu.Check, "machine", lambda self, name: 1 / 0)
    lines = gpu.main(["--tiny", "--only", "0", "4"])
    assert [line["stage"] for line in lines] == ["0 <lambda>", "4 memory"]
    assert "ZeroDivisionError" in lines[0]["failed"]
