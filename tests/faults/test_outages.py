"""A part of the table of failing calls; ``python -m tests.faults outages`` runs all of it."""

import random

import pytest

from tests.faults import outages


@pytest.fixture(scope="module")
def setting(tmp_path_factory):
    policy, tokenizer = outages.setting(tmp_path_factory.mktemp("outages"))
    return policy, tokenizer, outages.run(policy, tokenizer)


def test_a_run_calls_the_system_from_many_places_of_ours(setting):
    *_, whole = setting
    assert whole.ended == ""
    assert whole.said == ()
    kinds = {place.split()[0] for place in whole.reached}
    assert kinds >= {
        "stat",
        "lstat",
        "listdir",
        "scandir",
        "open",
        "read",
        "write",
        "fsync",
        "replace",
        "link",
    }
    assert len(whole.reached) > 60


def test_a_call_that_fails_stops_no_training_and_costs_no_point_in_silence(setting):
    policy, tokenizer, whole = setting
    for place, error, moment in random.Random(0).sample(outages.cells(whole), 3):
        found = outages.run(policy, tokenizer, outages.when(place, moment, whole.reached[place]), error)
        assert outages.judge(found, whole) == "", (place, error, moment)


def test_a_disk_that_is_away_for_two_steps_or_for_good_stops_no_training(setting):
    policy, tokenizer, whole = setting
    back = outages.run(policy, tokenizer, lambda place, before, step: 3 <= step < 5, "ESTALE")
    assert outages.judge(back, whole) == ""
    gone = outages.run(policy, tokenizer, lambda place, before, step: step >= 3, "EACCES")
    assert gone.ended == ""
    assert gone.said
