"""Nothing waits without a line and without an end: a second process, other ranks, a lock of a lost host."""

import fcntl
import os
import select
import signal
import subprocess
import threading
import types
from multiprocessing import Pipe

import pytest

from rm_monitor.errors import RanksLostError, ScorerUnavailable
from rm_monitor.files import lease
from rm_monitor.files.lock import Lock
from rm_monitor.monitor.overlap import queue, worker
from rm_monitor.scorers import load_scorer
from rm_monitor.text import waiting
from rm_monitor.training import ranks
from rm_monitor.types import Completion, Prompt


@pytest.fixture
def stopped(tmp_path):
    """A second process that was stopped: it says nothing, and ends at nothing but SIGKILL."""
    process = subprocess.Popen(["sleep", "60"])
    os.kill(process.pid, signal.SIGSTOP)
    made = worker.Worker.__new__(worker.Worker)
    ours, theirs = Pipe()
    made._pipe, made._process, made._log = ours, process, tmp_path / "log"
    made._end = lambda: process.wait()
    made._poll = select.poll()
    made._poll.register(ours.fileno(), select.POLLIN)
    yield made, theirs
    process.kill()
    process.wait()


def test_a_second_process_that_is_stopped_is_said_and_ended(stopped, monkeypatch, caplog):
    monkeypatch.setattr(worker, "LINE", 0.01)
    made, _ = stopped
    with pytest.raises(worker.WorkerEndedError, match=r"gave no sign for .* stopped or is stuck"):
        made.hear(wait=True, patience=0.05)
    assert made._process.returncode == -signal.SIGKILL
    assert "training has waited" in caplog.text


def test_one_that_speaks_in_time_is_heard(stopped):
    made, theirs = stopped
    theirs.send(("done", 7))
    assert made.hear(wait=True, patience=5) == ("done", 7)
    assert made.hear(wait=False) is None


@pytest.mark.parametrize("said", [b"\x00", b"\x00\x00\x10\x00half of a message", b"\xff\xff\xff\xff\x00"])
def test_one_that_stops_in_the_middle_of_a_message_is_ended_too(stopped, said):
    made, theirs = stopped
    os.write(theirs.fileno(), said)
    with pytest.raises(worker.WorkerEndedError, match=r"gave no sign for"):
        made.hear(wait=False, patience=0.05)
    assert made._process.returncode == -signal.SIGKILL


@pytest.mark.parametrize("size", [0, 10, 300_000])
def test_a_message_of_any_length_is_heard_as_it_was_sent(stopped, size):
    made, theirs = stopped
    sends = threading.Thread(target=theirs.send, args=(("measured", b"x" * size),))
    sends.start()
    assert made.hear(wait=True, patience=30) == ("measured", b"x" * size)
    sends.join()


@pytest.mark.parametrize(("dearest", "patience"), [(0.0, 3600), (1.0, 120), (100.0, 500)])
def test_its_patience_is_learnt_from_the_longest_evaluation(dearest, patience):
    overlap = queue.Overlap.__new__(queue.Overlap)
    overlap._dearest = dearest
    assert overlap._patience == patience


class Store(dict):
    """What ranks meet at."""

    def set(self, key, value):
        self[key] = value

    def check(self, keys):
        return all(key in self for key in keys)


def distributed(store, size=3):
    return types.SimpleNamespace(
        distributed_c10d=types.SimpleNamespace(_get_default_store=lambda: store),
        get_rank=lambda: 0,
        get_world_size=lambda: size,
    )


def test_ranks_that_never_call_the_monitor_are_named_within_seconds_and_not_waited_for_for_ever(
    monkeypatch, caplog
):
    now = [0.0]
    monkeypatch.setattr(ranks.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(ranks.time, "sleep", lambda s: now.__setitem__(0, now[0] + 1))
    store = Store()
    real = store.check
    first = next(ranks._meetings) + 1
    store.check = lambda keys: keys == [f"rm_monitor/{first}/1"] or real(keys)
    with pytest.raises(RanksLostError, match=r"rank\(s\) 2 of 3 did not call .*`if rank == 0:`"):
        ranks._all_come(distributed(store))
    lines = [r.getMessage() for r in caplog.records]
    assert "waits for rank(s) 2 to call the monitor" in lines[0]
    assert 14 <= len(lines) <= 16  # the first within seconds, then one a minute
    assert ranks.SOON <= 10


def test_ranks_that_all_come_wait_for_nothing(monkeypatch):
    monkeypatch.setattr(ranks.time, "sleep", lambda s: pytest.fail("waited"))
    store = Store()
    store.check = lambda keys: True
    ranks._all_come(distributed(store))


def test_what_is_waited_for_is_said_each_minute(monkeypatch, caplog):
    made = []
    monkeypatch.setattr(
        waiting.threading,
        "Timer",
        lambda s, f: made.append(f) or types.SimpleNamespace(start=lambda: None, cancel=lambda: None),
    )
    with waiting.Waiting("rank 0 waits, 100 % sure"):
        made[0]()
        made[1]()
    assert [r.getMessage() for r in caplog.records] == [
        "rm_monitor: rank 0 waits, 100 % sure; 60 s so far",
        "rm_monitor: rank 0 waits, 100 % sure; 120 s so far",
    ]
    made[2]()  # it came back meanwhile
    assert len(caplog.records) == 2


# ---------------------------------------------------------------------------- judge functions


def test_a_judge_function_beyond_its_time_is_a_gap_and_never_are_two_under_way():
    goes, calls = threading.Event(), []

    def judge(prompts, completions):
        calls.append(threading.current_thread().name)
        goes.wait(30)
        return [1.0] * len(completions)

    scorer = load_scorer(judge, time_limit=0.05)
    asked = (
        [Prompt(id="1", messages=({"role": "user", "content": "?"},))],
        [Completion(prompt_id="1", text="x")],
    )
    with pytest.raises(ScorerUnavailable, match=r"did not return within its time_limit of 0.05 s"):
        scorer.score(*asked)
    with pytest.raises(ScorerUnavailable, match=r"still busy with a call"):
        scorer.score(*asked)
    assert len(calls) == 1
    goes.set()
    scorer._call._busy.join()
    assert scorer.score(*asked).reward.tolist() == [1.0]


def test_what_a_limited_judge_function_raises_is_raised():
    def judge(prompts, completions):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        load_scorer(judge, time_limit=30).score([], [])


@pytest.mark.parametrize("limit", [0, -1, float("nan"), float("inf")])
def test_a_time_limit_that_is_none_is_refused(limit):
    with pytest.raises(ValueError, match="`time_limit` is in seconds"):
        load_scorer(lambda p, c: [0.0] * len(c), time_limit=limit)


# ---------------------------------------------------------------------------- locks


def test_a_lock_that_is_a_link_is_not_followed(tmp_path):
    (tmp_path / "elsewhere").write_text("mine")
    (tmp_path / "run.lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic links"):
        Lock(tmp_path)


def test_a_forked_child_keeps_no_lock(tmp_path):
    held = Lock(tmp_path)
    (reads, writes), (hears, says) = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        os.close(writes)
        os.write(says, b"1")
        os.read(reads, 1)  # it lives until we say
        os._exit(0)
    os.read(hears, 1)
    held.release()
    probe = os.open(tmp_path / "run.lock", os.O_RDWR)
    fcntl.flock(probe, fcntl.LOCK_EX | fcntl.LOCK_NB)  # its copy of the descriptor is closed
    for end in (writes, reads, hears, says):
        os.close(end)
    os.waitpid(child, 0)
    os.close(probe)


def test_a_lease_is_released_by_its_holder_alone(tmp_path):
    path = tmp_path / "step-1"
    mine = lease.claim(path)
    path.rename(tmp_path / "away")
    path.write_text("somebody else took it over")
    mine.release()
    assert path.read_text() == "somebody else took it over"
