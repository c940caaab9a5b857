"""What a disk may hold after the power is lost: files as they were synced, not as they were written.

The calls that change a folder are logged while a run writes. Then the states that a file system may be in are
built from the log, as SQLite's tests and CrashMonkey do: every prefix of the calls, and of each prefix what a
disk keeps that drops what was not synced, cuts the last write short, or loses a file's name that was not
synced in its folder. Every state must open, no row may be lost that was acknowledged, and the best must load
or be said to be gone.

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
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rm_monitor.checkpoints import keeper
from rm_monitor.checkpoints.keeper import Keeper
from rm_monitor.records.history import History
from tests.faults.damage import point_and_table
from tests.faults.pinning import checkpoint, fault

FAST = "/dev/shm" if os.path.isdir("/dev/shm") else None
KINDS = ("all written", "unsynced data dropped", "unsynced data cut", "unsynced names lost", "both lost")


@dataclass
class Log:
    """What changed, in order.

    Attributes:
        calls: ``(kind, path, given)``: kinds ``write`` (whole contents after it), ``name`` (a path now names
            this inode, or None), ``sync`` (a file), ``sync folder``, ``told`` (something was acknowledged).
    """

    root: str
    calls: list[tuple[str, str, Any]] = field(default_factory=list)
    inodes: dict[str, int] = field(default_factory=dict)

    def told(self, what: str, given: Any) -> None:
        """An acknowledgement: from here on it must be there."""
        self.calls.append(("told", what, given))


@contextmanager
def logged(root: Path) -> Iterator[Log]:
    """Log what is done below a folder, by us, through `os`."""
    log = Log(str(root))
    real = {
        n: getattr(os, n) for n in ("fsync", "fdatasync", "replace", "rename", "unlink", "symlink", "link")
    }

    def path_of(file: int) -> str:
        return os.readlink(f"/proc/self/fd/{file}")

    def scan() -> None:
        """Note what files hold and names mean now, where it is not what was noted last."""
        for folder, folders, files in os.walk(root):
            for name in (*folders, *files):
                path = os.path.join(folder, name)
                note(path)
        for path in [p for p in log.inodes if not os.path.lexists(p)]:
            del log.inodes[path]
            log.calls.append(("name", path, None))

    held: dict[int, bytes] = {}

    def note(path: str) -> None:
        facts = os.lstat(path)
        if log.inodes.get(path) != facts.st_ino:
            log.inodes[path] = facts.st_ino
            if os.path.islink(path):
                log.calls.append(("name", path, ("link", os.readlink(path))))
            elif os.path.isdir(path):
                log.calls.append(("name", path, ("folder", facts.st_ino)))
            else:
                log.calls.append(("name", path, ("file", facts.st_ino)))
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
                    log.calls.append(
                        (kind, path, None if kind == "sync folder" else os.fstat(args[0]).st_ino)
                    )
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
    names: dict[str, Any] = {}
    pending: list[tuple[str, Any, Any]] = []  # names that no sync has made last: path, before, now
    told: dict[str, Any] = {}
    for what, path, given in log.calls[:upto]:
        if what == "write":
            data[given[0]] = given[1]
        elif what == "name":
            pending.append((path, names.get(path), given))
            names[path] = given
        elif what == "sync":
            synced[given] = data.get(given, b"")
        elif what == "sync folder":
            pending = [p for p in pending if os.path.dirname(p[0]) != path]
        else:
            told[path] = given
    if "names" in kind or "both" in kind:
        for path, before, _ in reversed(pending[draw.randrange(len(pending) + 1) :] if pending else []):
            names[path] = before
    for path, given in sorted(names.items()):
        target = into / os.path.relpath(path, log.root)
        if given is None or not target.parent.is_dir():
            continue
        if given[0] == "folder":
            target.mkdir(exist_ok=True)
        elif given[0] == "link":
            with suppress(FileExistsError):
                target.symlink_to(given[1])
        else:
            whole, kept = data.get(given[1], b""), synced.get(given[1], b"")
            if "dropped" in kind or "both" in kind:
                whole = kept
            elif "cut" in kind and whole != kept:
                start = len(kept) if whole.startswith(kept) else 0
                whole = whole[: draw.randrange(start, len(whole) + 1)]
            target.write_bytes(whole)
    return told


def session(root: Path, log: Log) -> None:
    """What a run does: evaluations, each acknowledged; checkpoints kept, marked, pruned; a second attempt."""
    ours = root / "_rm_monitor"
    for attempt in range(2):
        history, kept = History(ours), Keeper(ours)
        history.begin(None if attempt == 0 else 30)
        kept.tidy()
        for step in (10, 20, 30) if attempt == 0 else (40, 50):
            history.append(*point_and_table(step))
            log.told(f"row {step}", step)
            kept.pin(step, root / f"checkpoint-{step}")
            kept.mark_best(step, {"value": step, "attempt": attempt})
            log.told("best", step)
            kept.prune({step})
        history.close()


def record() -> Log:
    """Run a session and log it."""
    small, keeper._SMALL = keeper._SMALL, 10**9  # copied: a hard link's contents are the Trainer's to sync
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
    why = fault(into, {0, before, before + 10} if before else {0, 10})
    if why is None and before and not (ours / "best.json").exists():
        why = "the best is gone without a word"
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
    log, total, bad, said, seed = record(), 0, Counter[str](), [], 0
    while total < 5000:
        count, wrong, more = states(log, seed=seed)
        total, seed, said = total + count, seed + 1, said + more
        bad.update(wrong)
    figure = f"{total} crash states: unreadable / acknowledged rows lost / no best that loads"
    got = f"{bad['unreadable']} / {bad['acknowledged rows lost']} / {bad['best']}"
    yield figure, "0 / 0 / 0", got + "".join(f"; {w}" for w in said[:3])
