"""What a folder of checkpoints tells is bounded, whatever its numbers; a late watch is not buried in gaps."""

import json
import types

import pytest

from rm_monitor.sweep.ready import MOST_DUE, due_steps
from rm_monitor.sweep.watcher import GONE, Watcher


def found(folder, step, every):
    path = folder / f"checkpoint-{step}"
    path.mkdir()
    (path / "trainer_state.json").write_text(json.dumps({"global_step": step, "save_steps": every}))
    return types.SimpleNamespace(step=step, path=path, problem=None)


@pytest.mark.parametrize("step", [20_000_000, 900_000_000_000, 10**30])
def test_a_forged_number_of_saves_is_no_size(tmp_path, step, caplog):
    assert due_steps([found(tmp_path, step, 1)]) == set()
    assert "only steps that were seen are gaps" in caplog.text


def test_an_honest_number_of_saves_is_believed(tmp_path):
    assert due_steps([found(tmp_path, 100 * MOST_DUE, 100)]) == set(range(100, 100 * MOST_DUE + 1, 100))


class Records:
    """Counts how often the run is opened."""

    def __init__(self):
        self.turns, self.steps = 0, []

    def turn(self):
        self.turns += 1
        return types.SimpleNamespace(__enter__=lambda: None, __exit__=lambda *why: None)

    def record(self, measured, *, step):
        assert measured.skipped == GONE
        self.steps.append(step)


@pytest.fixture
def watcher():
    made = Watcher.__new__(Watcher)
    made.run, made._judged, made._seen, made._looked = Records(), {}, set(), False
    made.swept = types.SimpleNamespace(left_out={})
    return made


def test_what_was_deleted_before_a_watch_began_is_one_line_and_no_gap(tmp_path, watcher, caplog):
    watcher._report_deleted([found(tmp_path, 5000, 10)])
    assert watcher.run.turns == 0
    assert [r.getMessage() for r in caplog.records] == [
        "rm_monitor: 499 steps, 10 to 4990, were deleted before this watch began: not on the curve"
    ]
    watcher._report_deleted([found(tmp_path, 5010, 10)])
    assert watcher.run.steps == [5000]  # it was due, and it is gone


def test_all_gaps_of_one_look_take_one_turn(tmp_path, watcher):
    watcher._report_deleted([found(tmp_path, 10, 10)])
    watcher._report_deleted([found(tmp_path, 3000, 10)])
    assert watcher.run.steps == list(range(10, 3000, 10))
    assert watcher.run.turns == 1
