"""A reader finds the best at every moment; what cannot be looked at is said and not taken for gone."""

import json
import logging
import os
from pathlib import Path

import pytest

from rm_monitor import files
from rm_monitor.checkpoints import keeper
from rm_monitor.checkpoints.keeper import Keeper
from rm_monitor.checkpoints.selection import Selection
from rm_monitor.files.strict_json import read_object
from tests.faults.pinning import CALLS, checkpoint, step_of_weights


@pytest.fixture
def folder(tmp_path):
    for step in (10, 20, 30):
        checkpoint(tmp_path, step)
    (tmp_path / "_rm_monitor").mkdir()
    return tmp_path


def test_a_reader_finds_the_best_before_and_after_every_call_of_pinning(folder, monkeypatch):
    kept = Keeper(folder / "_rm_monitor")
    kept.pin(10, folder / "checkpoint-10")
    kept.mark_best(10, {})
    moments = []

    def looked(real):
        def call(*args, **kwargs):
            moments.append(step_of_weights(folder / "_rm_monitor" / "best"))
            done = real(*args, **kwargs)
            moments.append(step_of_weights(folder / "_rm_monitor" / "best"))
            return done

        return call

    with monkeypatch.context() as patched:
        for name in CALLS:
            if name not in ("open", "write"):  # reading calls them too
                patched.setattr(os, name, looked(getattr(os, name)))
        for step in (20, 30):
            kept.pin(step, folder / f"checkpoint-{step}")
            kept.mark_best(step, {})
            kept.prune({step})
    assert len(moments) > 40
    assert None not in moments
    assert moments == sorted(moments)
    assert moments[-1] == 30


def test_the_marked_best_is_never_pruned(folder):
    kept = Keeper(folder / "_rm_monitor")
    for step in (10, 20):
        kept.pin(step, folder / f"checkpoint-{step}")
    kept.mark_best(10, {})
    kept.prune({20})
    assert set(kept.available()) == {10, 20}


def test_what_is_let_go_of_loses_its_name_before_it_is_taken_apart(folder, monkeypatch):
    kept, removed = Keeper(folder / "_rm_monitor"), []
    for step in (10, 20):
        kept.pin(step, folder / f"checkpoint-{step}")
    kept.mark_best(20, {})
    real = files.remove
    monkeypatch.setattr(files, "remove", lambda path: (removed.append(path.name), real(path)))
    kept.prune({20})
    assert set(kept.available()) == {20}
    assert set(removed) == {".gone-step-10"}


def test_a_source_that_changes_while_it_is_linked_is_not_kept(folder, monkeypatch):
    real = keeper._link

    def cut(source, target):
        real(source, target)
        if target.name == "model.safetensors":
            target.unlink()
            target.write_bytes(source.read_bytes()[:-8])

    monkeypatch.setattr(keeper, "_link", cut)
    kept = Keeper(folder / "_rm_monitor")
    with pytest.raises(ValueError, match="changed meanwhile"):
        kept.pin(10, folder / "checkpoint-10")
    assert kept.available() == {}


def test_a_kept_checkpoint_that_cannot_be_loaded_any_more_is_said_once(folder, caplog):
    kept = Keeper(folder / "_rm_monitor")
    (kept.pin(10, folder / "checkpoint-10") / "config.json").write_text("{")
    for _ in range(3):
        assert kept.available() == {}
    assert [r.levelno for r in caplog.records] == [logging.WARNING]
    assert "cannot be loaded now: config.json is not whole" in caplog.text


def test_a_file_that_cannot_be_read_is_said_and_one_that_is_not_there_is_not(tmp_path, monkeypatch, caplog):
    assert read_object(tmp_path / "best.json") == {}
    assert not caplog.records

    def stale(self, **kwargs):
        raise OSError(116, "Stale file handle")

    monkeypatch.setattr(Path, "read_text", stale)
    assert read_object(tmp_path / "best.json") == {}
    assert "best.json cannot be read now: [Errno 116] Stale file handle" in caplog.text


def test_a_checkpoint_that_cannot_be_looked_at_is_where_it_was_seen_last(folder, monkeypatch):
    chosen = Selection(folder / "_rm_monitor", keep=1, metric="win_rate")
    chosen.saved(10, folder / "checkpoint-10")

    def stale(self):
        raise OSError(116, "Stale file handle")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "is_dir", stale)
        assert chosen.path(10) == folder / "checkpoint-10"
    assert chosen.path(20) is None


def test_what_best_json_says_is_json(folder):
    kept = Keeper(folder / "_rm_monitor")
    kept.pin(10, folder / "checkpoint-10")
    kept.mark_best(10, {"value": float("nan")})
    assert json.loads((folder / "_rm_monitor" / "best.json").read_text())["value"] is None
