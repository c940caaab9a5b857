"""What a disk may hold after the power is lost: files as they were synced, not as they were written.

The calls that change a folder are logged while a run writes. Then the states that a file system may be in are
built from the log, as SQLite's tests and CrashMonkey do: every prefix of the calls, and of each prefix what a
disk keeps that drops what was not synced, cuts the last write short, or loses a file's name that was not
synced in its folder. Every state must open, no row may be lost that was acknowledged, and the best that was
told of, or the next one, must load.

The model is that of a journalled file system in its strictest reading: contents last up to the file's own
sync; a name (create, rename, remove, link) lasts once its folder was synced, and names are lost from the
newest backwards.
"""

from __future__ import annotations

import logging
import os
import random
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rm_monitor.checkpoints import keeper
from rm_monitor.checkpoints.keeper import Keeper
from rm_monitor.records.history import History
from rm_monitor.types import EvalPoint
from tests.faults.damage import point_and_table
from tests.faults.pinning import checkpoint, fault

FAST = "/dev/shm" if os.path.isdir("/dev/shm") else None
KINDS = ("all written", "unsynced data dropped", "unsynced data cut", "unsynced names lost", "both lost")


@dataclass
class Log:
    """What changed, in order.

    Attributes:
        calls: ``(kind, what, given)``: kinds ``write`` (whole contents of an inode after it), ``name`` (an
            entry of a folder, by the folder's inode and its name, is now this inode, or None), ``sync`` (a
            file's inode), ``sync folder`` (its inode), ``told`` (something was acknowledged).
        names: Entry -> what it is now.
    """

    root: str
    top: int
    calls: list[tuple[str, Any, Any]] = field(default_factory=list)
    names: dict[tuple[int, str], int] = field(default_factory=dict)

    def told(self, what: str, given: Any) -> None:
        """An acknowledgement: from here on it must be there."""
        self.calls.append(("told", what, given))


@contextmanager
def logged(root: Path) -> Iterator[Log]:
    """Log what is done below a folder, by us, through `os`."""
    log = Log(str(root), os.stat(root).st_ino)
    real = {
        n: getattr(os, n) for n in ("fsync", "fdatasync", "replace", "rename", "unlink", "symlink", "link")
    }

    def path_of(file: int) -> str:
        return os.readlink(f"/proc/self/fd/{file}")

    def scan() -> None:
        """Note what files hold and names mean now, where it is not what was noted last."""
        there = set()
        for folder, folders, files in os.walk(root):
            inode = os.stat(folder).st_ino
            for name in (*folders, *files):
                there.add((inode, name))
                note((inode, name), os.path.join(folder, name))
        for entry in [e for e in log.names if e not in there]:
            del log.names[entry]
            log.calls.append(("name", entry, None))

    held: dict[int, bytes] = {}

    def note(entry: tuple[int, str], path: str) -> None:
        facts = os.lstat(path)
        if log.names.get(entry) != facts.st_ino:
            log.names[entry] = facts.st_ino
            if os.path.islink(path):
                log.calls.append(("name", entry, ("link", os.readlink(path))))
            elif os.path.isdir(path):
                log.calls.append(("name", entry, ("folder", facts.st_ino)))
            else:
                log.calls.append(("name", entry, ("file", facts.st_ino)))
        if os.path.isfile(path) and not os.path.islink(path):
            data = Path(path).read_bytes()
            if held.get(facts.st_ino) != data:
                held[facts.st_ino] = data
                log.calls.append(("write", path, (facts.st_ino, data)))

    def after(name: str) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            scan()
            done = real[name](*args, **kwargs)
            if name in ("fsync", "fdatasync"):
                path = path_of(args[0])
                if path.startswith(log.root):
                    kind = "sync folder" if os.path.isdir(path) else "sync"
                    log.calls.append((kind, path, os.fstat(args[0]).st_ino))
            scan()
            return done

        return call

    for name in real:
        setattr(os, name, after(name))
    try:
        scan()
        yield log
        scan()
    finally:
        for name, call in real.items():
            setattr(os, name, call)


def build(log: Log, upto: int, kind: str, draw: random.Random, into: Path) -> dict[str, Any]:
    """Lay down one state of the first calls; what was acknowledged by then."""
    data: dict[int, bytes] = {}
    synced: dict[int, bytes] = {}
    names: dict[tuple[int, str], Any] = {}
    pending: list[tuple[tuple[int, str], Any]] = []  # entries that no sync has made last: which, and before
    told: dict[str, Any] = {}
    for what, where, given in log.calls[:upto]:
        if what == "write":
            data[given[0]] = given[1]
        elif what == "name":
            pending.append((where, names.get(where)))
            names[where] = given
        elif what == "sync":
            synced[given] = data.get(given, b"")
        elif what == "sync folder":
            pending = [p for p in pending if p[0][0] != given]
        else:
            told[where] = given
    if "names" in kind or "both" in kind:
        for entry, before in reversed(pending[draw.randrange(len(pending) + 1) :] if pending else []):
            names[entry] = before

    def contents(inode: int) -> bytes:
        whole, kept = data.get(inode, b""), synced.get(inode, b"")
        if "dropped" in kind or "both" in kind:
            return kept
        if "cut" in kind and whole != kept:
            start = len(kept) if whole.startswith(kept) else 0
            return whole[: draw.randrange(start, len(whole) + 1)]
        return whole

    def lay(folder: int, at: Path) -> None:
        for (parent, name), given in sorted(names.items()):
            if parent != folder or given is None:
                continue
            if given[0] == "folder":
                (at / name).mkdir()
                lay(given[1], at / name)
            elif given[0] == "link":
                (at / name).symlink_to(given[1])
            else:
                (at / name).write_bytes(contents(given[1]))

    lay(log.top, into)
    return told


def session(root: Path, log: Log) -> None:
    """What a run does: evaluations, each acknowledged; checkpoints kept, marked, pruned; a second attempt."""
    ours = root / "_rm_monitor"
    for attempt in range(2):
        history, kept = History(ours), Keeper(ours)
        history.begin(None if attempt == 0 else 30)
        if attempt == 0:  # a point without rows: their folder is made beside a history that is there
            history.append(EvalPoint(step=5, status="failed", reason="not yet"), None)
        kept.tidy()
        for step in (10, 20, 30) if attempt == 0 else (40, 50):
            history.append(*point_and_table(step))
            log.told(f"row {step}", step)
            kept.pin(step, root / f"checkpoint-{step}")
            kept.mark_best(step, {"value": step, "attempt": attempt})
            log.told("best", step)
            kept.prune({step})
        history.close()


def record(small_is: int = 1000) -> Log:
    """Run a session and log it; what is smaller is copied, what is larger linked, as weights are."""
    small, keeper._SMALL = keeper._SMALL, small_is
    try:
        with tempfile.TemporaryDirectory(dir=FAST) as folder:
            root = Path(folder).resolve()
            for step in (10, 20, 30, 40, 50):
                checkpoint(root, step)
            (root / "_rm_monitor").mkdir()
            with logged(root / "_rm_monitor") as log:
                session(root, log)
            return log
    finally:
        keeper._SMALL = small


def judge(into: Path, told: dict[str, Any]) -> list[str]:
    """What is wrong with a state."""
    ours, wrong = into / "_rm_monitor", []
    try:
        found = {p.step: p.status for p in History.read(ours)}
    except Exception as problem:
        return [f"unreadable: {type(problem).__name__}: {problem}"]
    lost = [step for what, step in told.items() if what.startswith("row") and found.get(step) != "ok"]
    if lost:
        wrong.append(f"acknowledged rows lost: {lost}")
    before = told.get("best", 0)
    why = fault(into, {before, before + 10} if before else {0, 10})
    return [*wrong, *([f"best: {why}"] if why else [])]


def states(log: Log, *, every: int = 1, seed: int = 0) -> tuple[int, Counter[str], list[str]]:
    """Build and judge states; how many, what was wrong by kind, and some of it."""
    draw, count, bad, said = random.Random(seed), 0, Counter[str](), []
    logging.disable(logging.CRITICAL)
    try:
        for upto in range(1, len(log.calls) + 1, every):
            for kind in KINDS:
                with tempfile.TemporaryDirectory(dir=FAST) as folder:
                    into = Path(folder)
                    (into / "_rm_monitor").mkdir()
                    told = build(log, upto, kind, draw, into / "_rm_monitor")
                    count += 1
                    for why in judge(into, told):
                        bad[why.split(":")[0]] += 1
                        said.append(f"call {upto} of {len(log.calls)}, {kind}: {why}")
    finally:
        logging.disable(logging.NOTSET)
    return count, bad, said


def campaign() -> Iterator[tuple[str, str, str]]:
    """At least 5,000 states."""
    logs, total, bad, said, seed = (record(), record(10**9)), 0, Counter[str](), [], 0
    while total < 6_000:
        count, wrong, more = states(logs[seed % 2], seed=seed)
        total, seed, said = total + count, seed + 1, said + more
        bad.update(wrong)
    figure = f"{total} crash states: unreadable / acknowledged rows lost / no best that loads"
    got = f"{bad['unreadable']} / {bad['acknowledged rows lost']} / {bad['best']}"
    yield figure, "0 / 0 / 0", got + "".join(f"; {w}" for w in said[:3])
