"""A watcher beside a job that writes, rotates and dies: every due step is judged or reported."""

import pytest

from rm_monitor.records.history import History
from rm_monitor.sweep.discover import Source
from rm_monitor.sweep.watch import Ending, watch
from rm_monitor.sweep.watcher import GONE, Watcher


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def points(job):
    return {p.step: p.status for p in History.read(job.folder / "_rm_monitor")}


def follow(job, config, acts, **options):
    """Watch; each wait lets the job do its next act and a minute pass."""
    clock = Clock()

    def sleep(seconds):
        clock.now += 60.0
        if acts:
            acts.pop(0)()

    return watch(Source(folder=job.folder), config, sleep=sleep, clock=clock, **options)


def test_a_job_is_followed_to_its_last_checkpoint_and_the_best_is_kept(job, config):
    acts = [lambda s=s: job.save(s, last=30) for s in (10, 20, 30)]
    monitor, swept = follow(job, config, acts)
    assert points(job) == {10: "ok", 20: "ok", 30: "ok"}
    assert swept.judged == [10, 20, 30]
    assert monitor.best.step in (10, 20, 30)
    assert (job.folder / "_rm_monitor" / "best" / "model.safetensors").is_file()
    assert not list((job.folder / "_rm_monitor" / "pins" / "kept").iterdir())


def test_nothing_is_written_into_a_checkpoint(job, config):
    from rm_monitor.sweep.ready import stamp

    folder = job.save(30, last=30)
    before = stamp(folder)
    follow(job, config, [])
    assert stamp(folder) == before


def test_a_step_that_rotation_deleted_is_a_gap_on_the_curve_and_is_said(job, config, caplog):
    acts = [lambda: job.save(10), lambda: (job.delete(10), job.save(20)), lambda: job.save(50)]
    _, swept = follow(job, config, acts, rest=50.0)
    assert points(job)[10] == "skipped"
    assert swept.left_out == {10: GONE, 30: GONE, 40: GONE}
    assert GONE in caplog.text


def test_pre_rotation_links_keep_what_rotation_deletes(job, config):
    acts = [lambda: job.save(10), lambda: (job.save(20), job.delete(10)), lambda: job.save(30, last=30)]
    watcher_sees_it_only_once = 50.0
    _, swept = follow(job, config, acts, rest=watcher_sees_it_only_once, pre_rotation=True)
    assert swept.judged == [10, 20, 30]


def test_a_half_written_checkpoint_is_never_read_and_does_not_hold_up_the_end(job, config):
    acts = [lambda: job.save(10, whole=False), lambda: job.save(20, last=20)]
    _, swept = follow(job, config, acts)
    assert points(job) == {20: "ok"}
    assert "trainer_state.json" in swept.left_out[10]


def test_a_resumed_job_that_writes_a_step_again_has_it_judged_again(job, config):
    clock = Clock()
    watcher = Watcher(Source(folder=job.folder), config, rest=0.0, clock=clock)
    job.save(10)
    watcher.look()
    job.delete(10)
    folder = job.save(10)
    (folder / "model.safetensors").write_bytes((job.weights(20) / "model.safetensors").read_bytes())
    watcher.look()
    assert watcher.swept.judged == [10, 10]


def test_a_new_watcher_goes_on_where_the_last_one_stopped(job, config):
    job.save(10)
    first = Watcher(Source(folder=job.folder), config, rest=0.0)
    first.look()
    job.save(20)
    second = Watcher(Source(folder=job.folder), config, rest=0.0)
    second.look()
    assert first.swept.judged == [10]
    assert second.swept.judged == [20]


def test_several_watchers_never_judge_a_step_twice(job, config):
    for step in (10, 20, 30):
        job.save(step)
    watchers = [Watcher(Source(folder=job.folder), config, rest=0.0) for _ in range(3)]
    watchers[0]._leases.mkdir(parents=True, exist_ok=True)
    (watchers[0]._leases / "step-20").write_text("another machine holds it")
    for watcher in watchers:
        watcher.look()
    assert sorted(s for w in watchers for s in w.swept.judged) == [10, 30]
    (watchers[0]._leases / "step-20").unlink()
    assert [w.look() for w in watchers] == [0, 0, 0]
    assert sorted(s for w in watchers for s in w.swept.judged) == [10, 20, 30]


def test_a_checkpoint_that_cannot_be_loaded_is_tried_again_then_it_is_a_gap(job, config, monkeypatch):
    job.save(50)
    calls = []

    def load(self, path):
        calls.append(path)
        raise OSError("the file server is away")

    monkeypatch.setattr(Source, "load", load)
    follow(job, config, [])
    assert len(calls) == 3
    assert points(job)[50] == "failed"


def test_a_watch_says_what_it_waits_for_and_why_it_ended(job, config):
    told = []
    acts = [lambda: job.save(10), lambda: None, lambda: job.save(20)]
    follow(job, config, acts, ending=Ending(until=20, idle=3600.0), tell=told.append)
    assert told[0].endswith(
        "checkpoints there: 0; a look every 30 s until the Trainer says that training ended, "
        "or step 20 is judged, or nothing new comes for 60 min"
    )
    assert told[1:] == [
        "no checkpoint yet",
        "step 10 is judged; waiting for the next",
        "ended: step 20 is judged, and --until is 20; checkpoints judged here: 2",
    ]


def test_a_folder_that_is_not_there_is_refused_before_a_judge_is_loaded(job, config, monkeypatch):
    monkeypatch.setattr("rm_monitor.sweep.watch.Watcher", None)
    with pytest.raises(ValueError, match="no such folder"):
        watch(Source(folder=job.folder / "nowhere"), config)


def test_a_watch_ends_on_its_step_its_process_or_silence():
    ending = Ending(until=30, pid=2**22 + 1, idle=60.0)
    assert Ending(until=30).reached(30, last=False, quiet=0.0)
    assert not Ending(until=30).reached(20, last=False, quiet=1e9)
    assert ending.reached(None, last=False, quiet=0.0)
    assert Ending(idle=60.0).reached(10, last=False, quiet=60.0)
    assert Ending().reached(10, last=True, quiet=0.0)
    assert not Ending().reached(10, last=False, quiet=1e9)


def test_the_initial_policys_answers_are_made_once_for_all_watchers(job, config, tiny_policy_dir):
    config = config.model_copy(update={"references": None})
    source = Source(folder=job.folder, base=str(tiny_policy_dir))
    job.save(10)
    first, second = (Watcher(source, config, rest=0.0) for _ in range(2))
    first.look()
    second.look()
    assert first.swept.judged == [0, 10]
    assert second.swept.judged == []
    assert History.read(job.folder / "_rm_monitor")[0].metrics["win_rate"].value == 0.5
