"""A part of the zoo of user code; ``python -m tests.faults zoo`` trains all of it with every fault."""

import pytest

from tests.faults import zoo

SAMPLE = (
    ("dataset_with_its_own_generator", "fine"),
    ("merges_on_eval", "generator"),
    ("forward_moves_attribute", "scorer"),
    ("generate_that_switches_all_modules_when_done", "generator"),
    ("generate_that_changes_settings", "memory"),
)


@pytest.mark.parametrize(("animal", "fault"), SAMPLE)
def test_training_over_code_of_the_users_is_the_same_with_the_monitor(animal, fault):
    assert zoo.differs(animal, fault) == []


def test_the_zoo_would_notice_a_generator_that_is_drawn_from(monkeypatch):
    from rm_monitor.prompts import contamination

    monkeypatch.setattr(contamination, "rows_of", lambda data, **_: ((data[i] for i in range(5)), 5))
    assert "weights" in zoo.differs("dataset_with_its_own_generator", "fine")


def test_there_are_forty_animals_or_more():
    assert len(zoo.ZOO) >= 40
