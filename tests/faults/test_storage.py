"""What lies on disk survives what happens to disks and processes."""

import errno
import fcntl
import json
import os
import sqlite3
import subprocess
import sys
import threading
import zlib

import numpy as np
import pytest

from rm_monitor import files
from rm_monitor.cache.scores import ScoreStore
from rm_monitor.checkpoints.keeper import Keeper
from rm_monitor.errors import StoreError, StoreLockedError
from rm_monitor.files import lines, lock, owners
from rm_monitor.records.history import MOST_WAITING, History
from tests.faults import damage, halfwritten, pinning
from tests.faults.damage import point_and_table


def started(folder, resume=None):
    history = History(folder)
    history.begin(resume)
    return history


def test_damage_to_the_history_never_gives_a_wrong_row_or_an_exception():
    counts = damage.history_tries(40, seed=1)
    assert (counts["wrong"], counts["raised"], counts["lost"]) == (0, 0, 0)


def test_damage_to_the_score_cache_never_gives_a_wrong_score_or_an_exception():
    counts = damage.cache_tries(25, seed=1)
    assert (counts["wrong"], counts["raised"]) == (0, 0)


@pytest.mark.parametrize("file_system", pinning.FILE_SYSTEMS)
def test_a_crash_at_any_call_of_pinning_leaves_a_best_that_loads(file_system):
    count, wrong = pinning.crash_points(file_system, every=7)  # `make faults` crashes at every one
    assert not wrong
    assert count > 8


def test_the_crash_campaign_would_notice_a_best_that_goes_before_the_next_is_there(monkeypatch):
    def in_the_wrong_order(self, step, facts):
        files.remove(self.folder / "best.json")
        real(self, step, facts)

    real = Keeper.mark_best
    monkeypatch.setattr(Keeper, "mark_best", in_the_wrong_order)
    assert pinning.crash_points("links", every=2)[1]


# ---------------------------------------------------------------------------- history


def test_a_file_says_the_same_whatever_the_order_of_its_lines(tmp_path):
    damage.write_history(tmp_path)
    whole = (tmp_path / "history.jsonl").read_bytes().splitlines(keepends=True)
    before = History.read(tmp_path)
    (tmp_path / "history.jsonl").write_bytes(b"".join(whole[::-1] + whole))
    assert [(p.step, p.attempt, p.metrics) for p in History.read(tmp_path)] == [
        (p.step, p.attempt, p.metrics) for p in before
    ]


def test_points_beyond_a_rollback_stay_dead_when_the_line_of_the_new_attempt_is_lost(tmp_path):
    damage.write_history(tmp_path)
    (tmp_path / "attempts.jsonl").unlink()
    assert [(p.step, p.attempt) for p in History.read(tmp_path)][-3:] == [(40, 1), (50, 1), (60, 1)]


def test_a_torn_last_line_is_never_joined_with_the_next_record(tmp_path):
    history = started(tmp_path)
    history.append(*point_and_table(0))
    with (tmp_path / "history.jsonl").open("ab") as file:
        file.write(lines.line({"schema": 3, "seq": 1}).encode()[:20])
    history.append(*point_and_table(10))
    assert [p.step for p in history.points()] == [0, 10]


def test_a_line_that_is_forged_but_fits_its_checksum_raises_nothing(tmp_path):
    started(tmp_path).append(*point_and_table(0))
    good = {"schema": 3, "seq": 9, "attempts": [None], "step": 5, "segment": "", "status": "ok", "reason": ""}
    for bad in (
        {},
        {**good, "metrics": 3, "measured": {}, "rows": None},
        {
            **good,
            "metrics": {},
            "measured": {},
            "rows": {"file": "../../etc/passwd", "crc": 0, "n": 1, "k": 1},
        },
        {**good, "metrics": {"x": [1]}, "measured": {}, "rows": None},
        {**good, "step": "5", "metrics": {}, "measured": {}, "rows": None},
    ):
        with (tmp_path / "history.jsonl").open("a") as file:
            file.write(lines.line(bad))
    found = History.read(tmp_path)
    assert [p.status for p in found] == ["ok", "partial"]
    assert found[1].values == {}


def test_judging_a_step_again_keeps_the_old_rows_until_the_new_line_is_there(tmp_path, monkeypatch):
    history = started(tmp_path)
    history.append(*point_and_table(0))

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(lines, "append", killed)
    with pytest.raises(KeyboardInterrupt):
        history.append(*point_and_table(0, 5))
    assert [p.status for p in History.read(tmp_path)] == ["ok"]
    assert History.read_table(tmp_path, 0).values["reward"][0, 0] == 0


def test_a_long_completion_is_capped_on_disk_and_its_length_is_kept(tmp_path):
    point, table = point_and_table(0)
    big = table.completions[0][0].__class__(prompt_id="p0", text="x" * 10_000_000)
    table = table.__class__(
        prompt_ids=table.prompt_ids, completions=((big,), *table.completions[1:]), values=table.values
    )
    started(tmp_path).append(point, table)
    file = next((tmp_path / "rows").iterdir())
    assert file.stat().st_size < 60_000
    assert '"characters":10000000' in file.read_text()


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO, errno.EROFS, errno.EDQUOT])
@pytest.mark.parametrize("call", ["write", "fdatasync", "fsync", "replace", "open"])
def test_what_a_disk_refuses_waits_in_memory_and_is_written_later(tmp_path, monkeypatch, call, error):
    history = started(tmp_path)
    history.append(*point_and_table(0))
    before = (tmp_path / "history.jsonl").read_bytes()

    def refuses(*args, **kwargs):
        raise OSError(error, os.strerror(error))

    with monkeypatch.context() as broken:
        broken.setattr(os, call, refuses)
        with pytest.raises(StoreError, match="1 evaluation"):
            history.append(*point_and_table(10))
        with pytest.raises(StoreError, match="2 evaluation"):
            history.append(*point_and_table(20))
    assert (tmp_path / "history.jsonl").read_bytes() == before
    history.append(*point_and_table(30))
    assert [p.step for p in history.points()] == [0, 10, 20, 30]
    assert not list(tmp_path.rglob("*.tmp"))


def test_a_write_that_is_cut_short_leaves_no_piece_of_a_line(tmp_path, monkeypatch):
    history = started(tmp_path)
    history.append(*point_and_table(0))
    before, real = (tmp_path / "history.jsonl").read_bytes(), os.write
    with monkeypatch.context() as broken:
        broken.setattr(os, "write", lambda file, data: real(file, data[: len(data) // 2]))
        with pytest.raises(StoreError, match="is the disk full"):
            history.append(*point_and_table(10))
    assert (tmp_path / "history.jsonl").read_bytes() == before


def test_a_disk_that_is_full_from_the_start_stops_nothing(tmp_path, monkeypatch):
    with monkeypatch.context() as broken:
        broken.setattr(os, "open", lambda *a, **k: (_ for _ in ()).throw(OSError(errno.ENOSPC, "full")))
        history = started(tmp_path / "run")
        for step in range(MOST_WAITING + 4):
            with pytest.raises(StoreError):
                history.append(*point_and_table(step))
    history.close()
    found = History.read(tmp_path / "run")
    assert len(found) == MOST_WAITING + 4
    assert [bool(p.values) for p in found].count(True) == MOST_WAITING


# ---------------------------------------------------------------------------- two writers

HOLD = """
import sys, time
from rm_monitor.files import lock
from rm_monitor.records.history import History
if sys.argv[2] == "no flock":
    lock.fcntl = None
History(sys.argv[1])
print("held", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("how", ["flock", "no flock"])
def test_a_second_run_in_a_folder_is_refused_until_the_first_is_killed(tmp_path, how, monkeypatch):
    if how == "no flock":

        def unsupported(*_):
            raise OSError(errno.ENOLCK, "no locks available")

        monkeypatch.setattr(fcntl, "flock", unsupported)
    other = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path), how], stdin=-1, stdout=-1, text=True)
    assert other.stdout.readline() == "held\n"
    with pytest.raises(StoreLockedError, match="another process writes"):
        History(tmp_path)
    other.kill()
    other.communicate()
    started(tmp_path).close()  # the lock of a killed owner is not in the way


def test_an_owner_file_of_another_machine_is_respected_and_named(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "fcntl", None)
    (tmp_path / "run.owner").write_text(json.dumps({"host": "elsewhere", "pid": 1, "boot": "x", "born": "1"}))
    with pytest.raises(StoreLockedError, match=r"process 1 on elsewhere gave a sign 0 s ago"):
        History(tmp_path)


def test_an_owner_file_with_a_number_that_was_given_again_is_taken_over(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "fcntl", None)
    owner = {**owners.me(), "pid": os.getppid(), "born": "1"}
    (tmp_path / "run.owner").write_text(json.dumps(owner))
    started(tmp_path).close()
    assert not (tmp_path / "run.owner").exists()


def test_a_monitor_made_again_in_the_same_process_takes_the_folder_over(tmp_path):
    first, second = started(tmp_path), started(tmp_path)
    second.append(*point_and_table(0))
    first.close()
    child = subprocess.run(
        [sys.executable, "-c", HOLD, str(tmp_path), "flock"], stdin=-1, capture_output=True
    )
    assert b"another process writes" in child.stderr
    second.close()


# ---------------------------------------------------------------------------- the score cache

KEYS = {bytes([i]) * 16: {"reward": float(i)} for i in range(20)}


def test_a_locked_cache_is_done_without(tmp_path, caplog):
    path = tmp_path / "scores.sqlite"
    ScoreStore(path).put(KEYS)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("begin exclusive")
    store = ScoreStore(path, patience=0.01)
    assert store.get(list(KEYS)) == {}
    store.put({b"x" * 16: {"reward": 1.0}})
    assert store.get([b"x" * 16]) == {b"x" * 16: {"reward": 1.0}}
    assert "kept in memory" in caplog.text
    other.execute("rollback")
    assert ScoreStore(path).get(list(KEYS)) == KEYS


@pytest.mark.parametrize(
    "foreign",
    [
        "create table scores (other text); insert into scores values ('theirs')",
        "create view scores as select 1 as key",
        "pragma user_version=99; create table scores (key, value, crc)",
    ],
)
def test_a_database_of_somebody_else_is_put_aside_whole(tmp_path, foreign):
    path = tmp_path / "scores.sqlite"
    with sqlite3.connect(path) as other:
        other.executescript(foreign)
    other.close()
    before = path.read_bytes()
    store = ScoreStore(path)
    assert store.get(list(KEYS)) == {}
    store.put(KEYS)
    assert store.get(list(KEYS)) == KEYS
    assert [p.read_bytes()[100:] for p in tmp_path.glob("*.corrupt-*")] == [before[100:]]


def test_rows_of_the_wrong_types_are_unknown(tmp_path):
    store = ScoreStore(tmp_path / "scores.sqlite")
    store.put(KEYS)
    for row in [(17, "{}", 0), (b"a" * 16, b"blob", 0), ("text", "[1]", "x"), (b"b" * 16, "[]", 0)]:
        store.open().execute("insert into scores values (?, ?, ?, x'00', 0)", row)
    for key, text in [(b"c" * 16, "[1]"), (b"d" * 16, '{"reward": "x"}'), (b"e" * 16, "[" * 9999)]:
        crc = zlib.crc32(key + text.encode())
        store.open().execute("insert into scores values (?, ?, ?, x'00', 0)", (key, text, crc))
    asked = [*KEYS, 17, "text", *(bytes([c]) * 16 for c in b"abcde")]
    assert store.get(asked) == KEYS


def test_a_cache_that_cannot_be_made_is_done_without(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    store = ScoreStore(tmp_path / "file" / "scores.sqlite")
    store.put(KEYS)
    assert store.get(list(KEYS)) == KEYS


def test_a_damaged_cache_is_put_aside_with_its_side_files(tmp_path):
    path = tmp_path / "scores.sqlite"
    path.write_bytes(b"this is no database" * 100)
    path.with_name("scores.sqlite-wal").write_bytes(b"stale" * 100)
    store = ScoreStore(path)
    assert store.get(list(KEYS)) == {}
    store.put(KEYS)
    store.close()
    assert ScoreStore(path).get(list(KEYS)) == KEYS
    assert len(list(tmp_path.glob("*.corrupt-*"))) == 1


def test_a_damaged_cache_in_a_folder_that_cannot_be_written_is_done_without(tmp_path, monkeypatch):
    path = tmp_path / "scores.sqlite"
    path.write_bytes(b"this is no database" * 100)

    def refuses(*_):
        raise OSError(errno.EROFS, "read-only file system")

    monkeypatch.setattr(os, "replace", refuses)
    store = ScoreStore(path)
    store.put(KEYS)
    store.put(KEYS)
    assert store.get(list(KEYS)) == KEYS


@pytest.mark.parametrize(("kind", "mode"), [("nfs4", "delete"), ("fuse.sshfs", "delete"), ("ext4", "wal")])
def test_on_a_file_system_of_several_machines_the_write_ahead_log_is_not_used(
    tmp_path, monkeypatch, kind, mode
):
    from rm_monitor.cache import scores

    real = scores.Path.read_text

    def mounts(path, *args, **kwargs):
        if str(path) == "/proc/self/mountinfo":
            return f"1 0 0:1 / / rw - overlay o rw\n2 1 0:2 / {tmp_path} rw shared:1 - {kind} server rw\n"
        return real(path, *args, **kwargs)

    monkeypatch.setattr(scores.Path, "read_text", mounts)
    store = ScoreStore(tmp_path / "cache" / "scores.sqlite")
    store.put(KEYS)
    assert store._connection.execute("pragma journal_mode").fetchone() == (mode,)
    assert store.get(list(KEYS)) == KEYS


def test_a_write_ahead_log_that_fails_at_its_first_write_gives_way_to_a_plain_journal(tmp_path, monkeypatch):
    from rm_monitor.cache import scores

    real, tried = scores._prepare, []

    def prepare(connection, mode):
        tried.append(mode)
        if mode == "wal":
            connection.execute("pragma journal_mode=wal")
            raise sqlite3.OperationalError("disk I/O error")
        real(connection, mode)

    monkeypatch.setattr(scores, "_prepare", prepare)
    store = ScoreStore(tmp_path / "scores.sqlite")
    store.put(KEYS)
    assert tried == ["wal", "delete", None]  # both where it is begun, then as it lies there
    assert len(store) == len(KEYS)


@pytest.mark.parametrize("attempt", range(20))
def test_a_cache_that_several_begin_at_the_same_moment_keeps_what_each_wrote(tmp_path, attempt):
    path, together = tmp_path / "scores.sqlite", threading.Barrier(4)

    def write(part):
        together.wait()
        store = ScoreStore(path)
        for i in range(5):
            store.put({bytes([part, i] * 8): {"reward": float(i)}})

    threads = [threading.Thread(target=write, args=(part,)) for part in range(4)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert len(ScoreStore(path)) == 20
    assert [p.name for p in tmp_path.iterdir() if "corrupt" in p.name or "new" in p.name] == []


# ---------------------------------------------------------------------------- checkpoints


def test_no_half_written_checkpoint_is_taken_and_no_whole_one_refused():
    counts = halfwritten.offers(10, seed=1)
    assert [key for key in counts if key.startswith("accepted:")] == []
    assert (counts["accepted"], counts["refused"], counts["raised"]) == (0, 0, 0)
    assert counts["offered"] > 100


def test_what_is_kept_needs_no_second_copy_of_large_files(tmp_path):
    source = pinning.checkpoint(tmp_path, 10)
    from safetensors.numpy import save_file

    save_file({"w": np.zeros(300_000, dtype=np.float32)}, source / "model.safetensors")
    kept = Keeper(tmp_path / "_rm_monitor").pin(10, source)
    assert (kept / "model.safetensors").stat().st_ino == (source / "model.safetensors").stat().st_ino
    assert (kept / "config.json").stat().st_ino != (source / "config.json").stat().st_ino
    assert sorted(p.name for p in kept.iterdir()) == ["config.json", "model.safetensors", "tokenizer.json"]


def test_a_config_that_is_written_again_in_place_does_not_change_what_is_kept(tmp_path):
    source = pinning.checkpoint(tmp_path, 10)
    keeper = Keeper(tmp_path / "_rm_monitor")
    keeper.mark_best(10, {}) if keeper.pin(10, source) else None
    with (source / "config.json").open("r+") as file:
        file.truncate(0)
    assert pinning.fault(tmp_path, {10}) is None


def test_a_checkpoint_that_vanishes_while_it_is_linked_leaves_nothing(tmp_path, monkeypatch):
    source = pinning.checkpoint(tmp_path, 10)
    from rm_monitor.checkpoints import keeper as module

    real = module._link

    def rotated(path, target):
        if path.name == "model.safetensors":
            path.unlink()
        real(path, target)

    monkeypatch.setattr(module, "_link", rotated)
    keeper = Keeper(tmp_path / "_rm_monitor")
    with pytest.raises(OSError, match=r"model\.safetensors"):
        keeper.pin(10, source)
    assert keeper.available() == {}
    assert list(keeper.kept.iterdir()) == []


def test_a_best_json_that_names_a_place_outside_is_no_best(tmp_path):
    pinning.checkpoint(tmp_path / "elsewhere", 10)
    (tmp_path / "_rm_monitor" / "kept").mkdir(parents=True)
    for folder in ("../../elsewhere/checkpoint-10", "kept/../../elsewhere/checkpoint-10", "/etc", 5, None):
        (tmp_path / "_rm_monitor" / "best.json").write_text(json.dumps({"step": 10, "folder": folder}))
        assert Keeper(tmp_path / "_rm_monitor").best() is None


@pytest.mark.parametrize("told", ["", "7 (a)", "7 (a b) c) S 1 2"])
def test_a_locks_owner_that_ends_while_it_is_asked_for_is_gone(told, tmp_path, monkeypatch):
    real = owners._text
    monkeypatch.setattr(owners, "_text", lambda path: told if path.endswith("/stat") else real(path))
    assert not owners.runs_here({**owners.me(), "born": "12345"})
