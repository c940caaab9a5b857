"""A lease is held by one, renewed while it is held, and taken over from the dead."""

import os
import threading

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


def test_a_held_lease_is_renewed_until_it_is_released(tmp_path, monkeypatch):
    path, renewed = tmp_path / "step-1", threading.Semaphore(0)
    real = os.utime
    monkeypatch.setattr(os, "utime", lambda *args: (real(*args), renewed.release()))
    lease = claim(path, beat=0.001)
    real(path, (1.0, 1.0))  # as if nobody had renewed it for years
    while renewed.acquire(blocking=False):
        pass  # came before that
    for _ in range(2):  # the first may have begun before
        assert renewed.acquire(timeout=30), "no heartbeat came"
    assert path.stat().st_mtime > 1.0
    assert claim(path) is None, "a renewed lease is not taken over"
    lease.release()
    assert not path.exists()
    assert not [t for t in threading.enumerate() if t.name == "lease step-1"]
