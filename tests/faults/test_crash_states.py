"""States a disk may be in after a loss of power; ``python -m tests.faults crash_states`` builds 5,000."""

import os

import pytest

from rm_monitor import files
from rm_monitor.files import atomic, lines
from tests.faults import crash_states


class Without:
    """`os` without one of its calls."""

    def __init__(self, name):
        self.name = name

    def __getattr__(self, name):
        return (lambda file: None) if name == self.name else getattr(os, name)


@pytest.fixture(scope="module")
def log():
    return crash_states.record()


def test_a_run_is_readable_and_whole_after_power_was_lost_at_any_moment(log):
    count, wrong, said = crash_states.states(log, every=4)
    assert count > 200
    assert not wrong, said[:3]


def test_so_is_one_whose_weights_are_copied():
    _, wrong, said = crash_states.states(crash_states.record(10**9), every=8)
    assert not wrong, said[:3]


@pytest.mark.parametrize(
    "mutant",
    ["no fdatasync", "no fsync", "no sync of folders", "no sync of kept folders", "weights not settled"],
)
def test_the_replay_would_notice_a_sync_that_is_missing(monkeypatch, mutant):
    if mutant == "no fdatasync":
        monkeypatch.setattr(lines, "os", Without("fdatasync"))
    elif mutant == "no fsync":
        monkeypatch.setattr(atomic, "os", Without("fsync"))
    elif mutant == "no sync of kept folders":
        monkeypatch.setattr(files, "sync", lambda folder: None)
    elif mutant == "weights not settled":
        monkeypatch.setattr(files, "settle", lambda file: None)
    else:
        for module in (atomic, lines):
            monkeypatch.setattr(module, "sync", lambda folder: None)
    _, wrong, _ = crash_states.states(crash_states.record(), every=4)
    assert wrong
