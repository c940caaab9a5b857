"""An average of a run's checkpoints, held against the run's best on the same prompts."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from rm_monitor.checkpoints.disk import problem
from rm_monitor.checkpoints.keeper import Keeper
from rm_monitor.cli import app
from rm_monitor.errors import NotFoundError
from rm_monitor.sweep import average as module
from rm_monitor.sweep.average import average
from rm_monitor.sweep.discover import Source
from rm_monitor.sweep.run import sweep


@pytest.fixture
def swept(job, config):
    for step in (10, 20, 30):
        job.save(step)
    monitor, _ = sweep(Source(folder=job.folder), config)
    monitor.close()
    return job.folder


def records(folder):
    """What the run wrote, but for averages."""
    ours = folder / "_rm_monitor"
    return {
        p.relative_to(ours): p.read_bytes()
        for p in ours.rglob("*")
        if p.is_file() and "averages" not in p.parts
    }


@pytest.fixture
def above(monkeypatch):
    """Lets an average answer so much better than the best, on each prompt."""
    real = module.measure_loaded

    def by(shifts):
        def measure(run, source, path, step):
            measured = real(run, source, path, step)
            shape = next(iter(measured.table.values.values())).shape
            level = np.full(shape, 0.5)
            if "averages" in path.parts:
                level += np.reshape(shifts, shape)
            return replace(
                measured, table=replace(measured.table, values={**measured.table.values, "win_prob": level})
            )

        monkeypatch.setattr(module, "measure_loaded", measure)

    return by


@pytest.mark.parametrize(
    ("shifts", "standing"),
    [
        ([0.2, 0.21, 0.22], "better"),
        ([-0.2, 0.2, 0.1], "tied"),
        ([-0.2, -0.21, -0.22], "worse"),
        ([0.2, np.nan, np.nan], "unknown"),
    ],
)
def test_an_average_is_kept_if_it_is_better_or_tied_and_the_run_stays_as_it_was(
    swept, config, above, shifts, standing
):
    before = records(swept)
    above(shifts)
    made = average(swept, config, steps=[10, 30, 20])
    target = swept / "_rm_monitor" / "averages" / "steps-10-20-30"
    assert made.standing == standing
    assert made.best == Keeper(swept / "_rm_monitor").best()[0]
    if standing in ("better", "tied"):
        assert made.checkpoint == target
        assert problem(target) is None
        facts = json.loads((target / "averaged.json").read_text())
        assert facts["steps"] == [10, 20, 30]
        assert facts["judged"]["standing"] == standing
        assert str(target) in str(made)
    else:
        assert made.checkpoint is None
        assert not list(target.parent.iterdir())
        assert "It is not kept." in str(made)
    said = {"better": "is better than", "tied": "is tied with", "worse": "is worse than"}
    assert said.get(standing, "cannot be compared with") in str(made)
    assert records(swept) == before


def test_the_average_of_equal_checkpoints_answers_like_them(job, config):
    job.save(10)
    shutil.copytree(job.folder / "checkpoint-10", job.folder / "checkpoint-20")
    state = job.folder / "checkpoint-20" / "trainer_state.json"
    state.write_text(json.dumps({**json.loads(state.read_text()), "global_step": 20}))
    sweep(Source(folder=job.folder), config)[0].close()
    made = average(job.folder, config, tied=True)
    assert made.steps == (10, 20)
    assert (made.standing, tuple(made.change)[:3]) == ("tied", (0.0, 0.0, 0.0))


def test_what_to_average_is_one_choice_of_checkpoints_that_are_there(swept, config, job):
    for wrong in ({}, {"steps": [10, 20], "tied": True}, {"tied": True, "last": 2}):
        with pytest.raises(ValueError, match="by one of `steps`, `tied` and `last`"):
            average(swept, config, **wrong)
    with pytest.raises(NotFoundError, match=r"no whole checkpoint of steps \[25\]"):
        average(swept, config, steps=[10, 25])
    with pytest.raises(ValueError, match="at least 2, got 1"):
        average(swept, config, last=1)
    with pytest.raises(NotFoundError, match=r"9 checkpoints are needed, and on disk are \[10, 20, 30\]"):
        average(swept, config, last=9)
    with pytest.raises(NotFoundError, match="no best checkpoint is kept"):
        average(swept / "nowhere", config, last=2)


def test_the_command_line_averages_the_steps_that_are_named_or_the_last_ones(swept, tmp_path, above):
    above([0.2, 0.21, 0.22])
    call = ["average", str(swept), "--config", str(tmp_path / "monitor.yaml"), "--json"]
    named = CliRunner().invoke(app, [*call, "--steps", "10", "30"])
    assert named.exit_code == 0, named.output
    assert json.loads(named.stdout)["steps"] == [10, 30]
    above([-0.2, -0.21, -0.22])
    last = CliRunner().invoke(app, [*call, "--last", "2"])
    assert last.exit_code == 1, last.output
    assert json.loads(last.stdout)["steps"] == [20, 30]
    assert [p.name for p in (swept / "_rm_monitor" / "averages").iterdir()] == ["steps-10-30"]
