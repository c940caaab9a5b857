"""A lease is held by one, renewed while it is held, and taken over from the dead."""

import os

from rm_monitor.files.lease import claim


def test_a_lease_is_held_by_one_until_it_is_released(tmp_path):
    path = tmp_path / "leases" / "step-1"
    mine = claim(path)
    assert claim(path) is None
    mine.release()
    assert not path.exists()
    claim(path).release()


def test_a_lease_whose_holder_died_is_taken_over_by_one(tmp_path):
    path = tmp_path / "step-1"
    path.write_text("dead")
    os.utime(path, (1.0, 1.0))
    taken = claim(path)
    assert taken is not None
    assert claim(path) is None
    taken.release()
    assert list(tmp_path.iterdir()) == []


def test_a_held_lease_is_renewed(tmp_path):
    import threading

    path = tmp_path / "step-1"
    renewed = threading.Event()
    lease = claim(path, beat=0.001)
    os.utime(path, (1.0, 1.0))
    while path.stat().st_mtime == 1.0:
        renewed.wait(0.001)
    lease.release()
