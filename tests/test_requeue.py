"""A job that is started again on another machine: its folder is taken over, and training starts at once."""

import errno
import fcntl
import json
import os
import socket
import types

import pytest
from transformers import AutoModelForCausalLM, TrainerCallback

from rm_monitor import RewardMonitor, RewardMonitorCallback
from rm_monitor.errors import StoreBusyError, StoreLockedError
from rm_monitor.files import lock, owners
from rm_monitor.files.lock import Lock
from rm_monitor.monitor import late
from rm_monitor.testing import Says
from tests.helpers import tiny_trainer

ELSEWHERE = {"host": "node-17", "boot": "x", "pid": 4242, "born": "9", "job": "SLURM_JOB_ID=7", "start": 0}


@pytest.fixture(params=[errno.ENOSYS, errno.EACCES])
def requeued(tmp_path, monkeypatch, request):
    """A folder without flock, which a job on another machine held."""

    def unsupported(*_):
        raise OSError(request.param, os.strerror(request.param))

    monkeypatch.setattr(fcntl, "flock", unsupported)
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    owner = tmp_path / "run.owner"
    owner.write_text(json.dumps(ELSEWHERE))
    return tmp_path, owner


@pytest.fixture
def kept_by_the_server(tmp_path, monkeypatch):
    """A folder whose file server keeps the flock of a machine that is gone."""

    def taken(*_):
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(fcntl, "flock", taken)
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    (tmp_path / "run.owner").write_text(json.dumps(ELSEWHERE))
    return tmp_path


def silent(monkeypatch, *seconds):
    """The other's heartbeats, at each time it is asked for."""
    ages = iter(seconds)
    monkeypatch.setattr(lock, "silence", lambda path: next(ages))


def test_a_job_requeued_on_another_machine_takes_over_at_once_what_is_long_silent(requeued):
    folder, owner = requeued
    os.utime(owner, (0, 0))
    held = Lock(folder)
    assert json.loads(owner.read_text())["pid"] == os.getpid()
    held.release()
    assert not owner.exists()


def test_a_job_that_the_scheduler_started_again_takes_over_at_once(requeued, monkeypatch):
    folder, _ = requeued
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    silent(monkeypatch)  # nobody listens
    Lock(folder).release()


@pytest.mark.parametrize(("job", "restart"), [("8", "1"), ("7", "0"), ("7", "")])
def test_another_job_or_the_same_start_of_it_is_listened_to(requeued, monkeypatch, job, restart):
    folder, owner = requeued
    monkeypatch.setenv("SLURM_JOB_ID", job)
    monkeypatch.setenv("SLURM_RESTART_COUNT", restart)
    silent(monkeypatch, 1.0)
    with pytest.raises(StoreBusyError, match=r"4242 on node-17 gave a sign 1 s ago") as busy:
        Lock(folder)
    assert busy.value.again == 29.0
    assert owner.exists()


def test_a_machine_that_died_just_now_is_listened_for_and_then_taken_over_from(requeued, monkeypatch):
    folder, _ = requeued
    silent(monkeypatch, 1.0, 31.0)
    with pytest.raises(StoreBusyError):
        Lock(folder)
    Lock(folder).release()


def test_a_flock_that_a_file_server_keeps_of_a_dead_machine_is_asked_for_again_and_then_passed_over(
    kept_by_the_server, monkeypatch
):
    silent(monkeypatch, 1.0, 31.0, 31.0, 299.0, 299.0, 301.0, 301.0, 301.0)
    for words, again in [("gave a sign", 29.0), ("the file server keeps its lock", 10.0), ("keeps", 10.0)]:
        with pytest.raises(StoreBusyError, match=words) as busy:
            Lock(kept_by_the_server)
        assert busy.value.again == again
    held = Lock(kept_by_the_server)
    assert json.loads((kept_by_the_server / "run.owner").read_text())["pid"] == os.getpid()
    held.release()


def test_a_flock_that_is_taken_on_this_machine_or_by_nobody_knows_whom_is_refused(kept_by_the_server):
    owner = kept_by_the_server / "run.owner"
    for said in (json.dumps({**ELSEWHERE, "host": socket.gethostname()}), "not json"):
        owner.write_text(said)
        with pytest.raises(StoreLockedError, match="another process writes") as refused:
            Lock(kept_by_the_server)
        assert not isinstance(refused.value, StoreBusyError)


def test_who_holds_a_flock_says_so_and_a_folder_that_refuses_it_is_held_all_the_same(tmp_path, monkeypatch):
    held = Lock(tmp_path)
    assert json.loads((tmp_path / "run.owner").read_text()) == owners.me()
    held.release()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["run.lock"]

    def full(*_):
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "replace", full)
    held = Lock(tmp_path)
    assert held._owner is None
    held.release()


# ---------------------------------------------------------------------------- a run that begins late


@pytest.fixture
def clock(monkeypatch):
    """Time goes on only where somebody sleeps."""
    now = [0.0]
    monkeypatch.setattr(
        late,
        "time",
        types.SimpleNamespace(monotonic=lambda: now[0], sleep=lambda s: now.__setitem__(0, now[0] + s)),
    )
    return now


def test_a_run_that_has_not_trained_a_step_waits_for_a_moment_and_says_so(clock, caplog):
    tries = iter([StoreBusyError("node-17 may hold it", again=29.0), None])

    def begin():
        if problem := next(tries):
            raise problem

    late.patiently(begin)
    assert clock[0] == 30.0
    assert caplog.messages == ["rm_monitor: node-17 may hold it. It is waited for"]


def test_it_does_not_wait_for_one_that_gives_signs(clock):
    def begin():
        raise StoreBusyError("node-17 lives", again=29.0)

    with pytest.raises(StoreLockedError, match="node-17 lives"):
        late.patiently(begin)
    assert clock[0] <= 45


def test_one_that_resumes_trains_at_once_and_is_judged_from_when_the_lock_runs_out(clock, caplog):
    begins = []
    waits = late.LateBegin(StoreBusyError("node-17 may hold it", again=29.0))
    assert "Training goes on, without being judged until then" in caplog.text
    assert not waits.tries(lambda: begins.append(clock[0]))
    clock[0] = 31.0
    assert waits.tries(lambda: begins.append(clock[0]))
    assert begins == [31.0]


def test_a_lock_that_is_never_let_go_of_is_given_up_once_and_said(clock):
    waits = late.LateBegin(StoreBusyError("kept", again=10.0))

    def begin():
        raise StoreBusyError("kept", again=10.0)

    def hour():
        for _ in range(3600):
            clock[0] += 1.0
            assert not waits.tries(begin)

    with pytest.raises(StoreLockedError, match="asked for no more"):
        hour()
    assert 420 < clock[0] < 440
    clock[0] += 1000
    assert not waits.tries(begin)
    assert waits.over


def test_a_trainer_that_is_requeued_trains_at_once_and_its_curve_goes_on(
    tmp_path, tiny_policy_dir, tiny_tokenizer, clock, monkeypatch
):
    class TimeGoesOn(TrainerCallback):
        def on_step_begin(self, *args, **kwargs):
            clock[0] += 20.0

    def trainer(steps):
        monitor = RewardMonitor(
            lambda p, c: [1.0] * len(c), ["prompt"], generator=Says("x"), every=1, report_to=[]
        )
        made = tiny_trainer(
            AutoModelForCausalLM.from_pretrained(tiny_policy_dir),
            tiny_tokenizer,
            tmp_path,
            callbacks=[TimeGoesOn(), RewardMonitorCallback(monitor)],
            steps=steps,
            save_strategy="steps",
            save_steps=2,
        )
        return made, monitor

    trainer(2)[0].train()
    (tmp_path / "_rm_monitor" / "run.owner").write_text(json.dumps(ELSEWHERE))

    def unsupported(*_):
        raise OSError(errno.ENOSYS, "no flock")

    monkeypatch.setattr(fcntl, "flock", unsupported)
    silent(monkeypatch, 1.0, 41.0)
    made, monitor = trainer(6)
    made.train(resume_from_checkpoint=True)
    assert made.state.global_step == 6
    assert [p.step for p in monitor.curve] == [0, 1, 2, 4, 5, 6]
