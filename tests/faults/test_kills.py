"""The fast part of the kill campaign, and of the soak; `make faults` runs all of it."""

import random
from collections import Counter

import pytest

from tests.faults import kills, soak


@pytest.mark.parametrize(
    ("kind", "number"),
    [(kills.writing, 12), (kills.pinning, 12), (kills.evaluating, 3)],
    ids=lambda x: getattr(x, "__name__", str(x)),
)
def test_nothing_acknowledged_is_lost_by_a_kill_and_the_best_loads(kind, number):
    counts = Counter()
    kind(number, random.Random(3), counts)
    assert (counts["lost"], counts["unloadable"], counts["unequal"]) == (0, 0, 0), counts
    assert counts["kills"] >= number
    assert counts["acknowledged"] > 0


def test_the_kill_campaign_would_notice_a_row_that_is_told_before_it_is_written(monkeypatch):
    monkeypatch.setattr(kills.History, "append", lambda self, point, table: None)
    counts = Counter()
    kills.writing(1, random.Random(0), counts)
    assert counts["lost"] > 0


def test_evaluations_leave_no_memory_files_or_threads_behind():
    grown = soak.evaluations(20)
    assert grown["files"] == 0
    assert grown["threads"] == 0
    assert grown["bytes each"] < soak.BOUND
