"""``python -m tests.mutants [words]``: break one line of ours, and see that a test notices.

Each mutant is made in a copy of the repository, so that nothing here is touched. A survivor is a line that no
test needs: it is killed by a test, or explained in `EXPLAINED`. Exit 1 if one is neither.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LIMIT = 300  # seconds of a mutant's tests


@dataclass(frozen=True)
class Mutant:
    """One line that is broken.

    Attributes:
        name: What is broken.
        file: Where, below the package.
        old: The text, which is there once.
        new: What stands there instead.
        tests: Who ought to notice, the quickest first.
    """

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


STORAGE, CRASH, WAITS = (
    "tests/faults/test_storage.py",
    "tests/faults/test_crash_states.py",
    "tests/test_waits.py",
)
KEEPING = (CRASH, STORAGE, "tests/faults/test_keeper.py")
TEXT = ("tests/faults/test_security.py", "tests/faults/test_rows.py")
UNDISTURBED = ("tests/test_undisturbed.py",)


def _m(name: str, file: str, old: str, new: str, *tests: str) -> Mutant:
    return Mutant(name, file, old, new, tests)


MUTANTS = (
    # ---- files
    _m("append: no fdatasync", "files/lines.py", "            os.fdatasync(file)\n", "", CRASH),
    _m(
        "append: new name not synced",
        "files/lines.py",
        "                sync(path.parent)\n",
        "                pass\n",
        CRASH,
    ),
    _m(
        "append: torn end not healed",
        "files/lines.py",
        'torn = before > 0 and os.pread(file, 1, before - 1) != b"\\n"',
        "torn = False",
        STORAGE,
    ),
    _m("append: no rollback", "files/lines.py", "            os.ftruncate(file, before)\n", "", STORAGE),
    _m(
        "parse: checksum ignored",
        "files/lines.py",
        "    if int(end[1], 16) != zlib.crc32(body):\n        return None\n",
        "",
        STORAGE,
    ),
    _m("parse: any length", "files/lines.py", "len(data) > LONGEST or ", "", STORAGE),
    _m("append: links followed", "files/lines.py", ' | getattr(os, "O_NOFOLLOW", 0)', "", *TEXT, STORAGE),
    _m(
        "replace: in place",
        "files/atomic.py",
        "        os.replace(temporary, path)\n",
        "        path.write_text(text); temporary.unlink()\n",
        CRASH,
        STORAGE,
    ),
    _m(
        "replace: no fsync",
        "files/atomic.py",
        "            os.fsync(stream.fileno())\n",
        "            pass\n",
        CRASH,
    ),
    _m(
        "replace: folder not synced",
        "files/atomic.py",
        "    sync(path.parent)\n\n\ndef sync",
        "\n\ndef sync",
        CRASH,
    ),
    _m(
        "sync of folders: nothing",
        "files/atomic.py",
        "            os.fsync(file)\n",
        "            pass\n",
        CRASH,
    ),
    _m(
        "replace: a temporary link is followed",
        "files/atomic.py",
        "    temporary.unlink(missing_ok=True)\n    try:\n        file",
        "    try:\n        file",
        STORAGE,
        *TEXT,
    ),
    _m(
        "lock: none",
        "files/lock.py",
        "            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)\n",
        "            pass\n",
        STORAGE,
    ),
    _m(
        "lock: kept by forked children",
        "files/lock.py",
        "    os.register_at_fork(after_in_child=_forget_in_child)",
        "    pass",
        WAITS,
    ),
    _m(
        "lock: a link is followed",
        "files/lock.py",
        ' | getattr(os, "O_NOFOLLOW", 0), 0o644)\n        try:\n            if fcntl',
        ", 0o644)\n        try:\n            if fcntl",
        WAITS,
    ),
    _m(
        "lock: a number given again is alive",
        "files/lock.py",
        'return bool(owner.get("born") == _born(owner["pid"]))',
        "return True",
        STORAGE,
    ),
    _m(
        "lock: another host is dead",
        "files/lock.py",
        "        return _is_heard(owner, path)\n",
        "        return False\n",
        WAITS,
    ),
    _m(
        "lock: another host lives for ever",
        "files/lock.py",
        "        return _is_heard(owner, path)\n",
        "        return True\n",
        WAITS,
    ),
    _m(
        "lock: a heartbeat is not heard",
        "files/lock.py",
        "        if now < first:  # it was heard\n            return True\n",
        "",
        WAITS,
    ),
    _m(
        "lease: anyone's is released",
        "files/lease.py",
        "        if _identity(self.path) == self._mine:  # else",
        "        if True:  # else",
        WAITS,
    ),
    _m(
        "lease: never stale",
        "files/lease.py",
        "age is not None and age > MISSED * beat",
        "False",
        "tests/sweep/test_lease.py",
    ),
    _m(
        "lease: always stale",
        "files/lease.py",
        "age is not None and age > MISSED * beat",
        "True",
        "tests/sweep/test_lease.py",
    ),
    _m(
        "unread file is an empty one, in silence",
        "files/strict_json.py",
        '        log.warning("rm_monitor: %s cannot be read now: %s", path, problem)\n',
        "",
        "tests/faults/test_keeper.py",
    ),
    # ---- records
    _m(
        "rows: checksum ignored",
        "records/rows.py",
        '        if zlib.crc32(data) != rows["crc"]:\n            return None\n',
        "",
        STORAGE,
    ),
    _m(
        "rows: any name",
        "records/rows.py",
        '        if not _NAME.fullmatch(rows["file"]):\n            return None\n',
        "",
        STORAGE,
    ),
    _m(
        "rows: their folder is not synced",
        "records/rows.py",
        "        files.sync(folder)",
        "        pass",
        CRASH,
    ),
    _m(
        "rows: text not capped",
        "records/rows.py",
        "getattr(completion, name)[:LONGEST_TEXT]",
        "getattr(completion, name)",
        STORAGE,
    ),
    _m(
        "history: rollback ignored",
        "records/history.py",
        'all(isinstance(resumed, int) and record["step"] <= resumed for resumed in later)',
        "True",
        STORAGE,
    ),
    _m(
        "history: what waits is dropped",
        "records/history.py",
        "            self._append(*self._waiting[0])\n            self._waiting.pop(0)",
        "            self._append(*self._waiting.pop(0))",
        STORAGE,
    ),
    _m(
        "history: rows under an old name",
        "records/history.py",
        'f"rows/{point.step}-{self._seq}.jsonl"',
        'f"rows/{point.step}-0.jsonl"',
        STORAGE,
    ),
    _m(
        "history: forged lines believed",
        "records/history.py",
        "        if _is_whole(record):\n",
        "        if True:\n",
        STORAGE,
    ),
    _m(
        "cache: checksum ignored",
        "cache/scores.py",
        "        if checksum(key, value) == crc:",
        "        if True:",
        STORAGE,
    ),
    # ---- checkpoints
    _m(
        "pin: no check after linking",
        "checkpoints/keeper.py",
        "            why = problem(building)\n",
        "            why = None\n",
        "tests/faults/test_keeper.py",
    ),
    _m(
        "pin: built under its final name",
        "checkpoints/keeper.py",
        'building = self.kept / f".building-{step}"\n        files.remove(building)\n        building.mkdir',
        "building = self._free(step)\n        building.mkdir",
        STORAGE,
        CRASH,
    ),
    _m(
        "pin: not synced",
        "checkpoints/keeper.py",
        "        files.sync(building)\n        target",
        "        target",
        CRASH,
    ),
    _m(
        "best link: removed, then made",
        "checkpoints/keeper.py",
        "        os.replace(new, link)\n",
        "        files.remove(link)\n        new.rename(link)\n",
        "tests/faults/test_keeper.py",
    ),
    _m(
        "prune: the marked best not spared",
        "checkpoints/keeper.py",
        " | ({marked} if marked else set())",
        "",
        "tests/faults/test_keeper.py",
    ),
    _m(
        "prune: taken apart in place",
        "checkpoints/keeper.py",
        "                os.replace(path, away)\n                files.remove(away)\n",
        "                files.remove(path)\n",
        STORAGE,
        CRASH,
    ),
    _m("marked: any name", "checkpoints/keeper.py", "_KEPT.fullmatch(name) and ", "", STORAGE),
    _m(
        "kept that is not whole: silent",
        "checkpoints/keeper.py",
        "        if why is not None and (path.name",
        "        if False and (path.name",
        "tests/faults/test_keeper.py",
    ),
    _m(
        "a checkpoint that cannot be looked at is gone",
        "checkpoints/selection.py",
        "                return path\n        return None\n\n    def elect",
        "        return None\n\n    def elect",
        "tests/faults/test_keeper.py",
    ),
    _m(
        "disk: size not compared",
        "checkpoints/disk.py",
        "    if size != 8 + length + end:",
        "    if False:",
        STORAGE,
    ),
    _m(
        "disk: trainer_state not asked for",
        "checkpoints/disk.py",
        "        if not state.is_file():\n",
        "        if False:\n",
        STORAGE,
    ),
    _m(
        "disk: shards elsewhere",
        "checkpoints/disk.py",
        "not isinstance(name, str) or Path(name).name != name",
        "False",
        STORAGE,
        *TEXT,
    ),
    # ---- text and secrets
    _m(
        "escape: html not escaped",
        "text/escape.py",
        "return html.escape(visible(text), quote=True)",
        "return visible(text)",
        *TEXT,
    ),
    _m(
        "escape: invisible characters pass",
        "text/escape.py",
        'return _INVISIBLE.sub(lambda m: f"[U+{ord(m.group()):04X}]", shown)',
        "return shown",
        *TEXT,
    ),
    _m(
        "redact: environment not looked at",
        "text/escape.py",
        "for value in sorted(known, key=len, reverse=True):",
        "for value in ():",
        *TEXT,
    ),
    # ---- training
    _m(
        "modules: mode flags not restored",
        "training/module_state.py",
        "        part.training = training\n",
        "        pass\n",
        *UNDISTURBED,
    ),
    _m(
        "modules: new attributes stay",
        "training/module_state.py",
        "        del now[name]\n",
        "        pass\n",
        *UNDISTURBED,
    ),
    _m(
        "modules: contents of containers stay",
        "training/module_state.py",
        "            _refill(bound[name], saved)\n",
        "            pass\n",
        *UNDISTURBED,
    ),
    _m(
        "modules: merged weights stay",
        "training/module_state.py",
        "            parameter.data.copy_(saved)",
        "            pass",
        *UNDISTURBED,
    ),
    _m(
        "modules: buffers replaced stay",
        "training/module_state.py",
        "        part._buffers[name] = self._tensor\n",
        "",
        "tests/faults/test_zoo.py",
        *UNDISTURBED,
    ),
    _m("hooks: said each time", "training/hooks.py", "        _said.add(hook)\n", "", *UNDISTURBED),
    _m(
        "threads: all at once",
        "training/undisturbed.py",
        "        after.enter_context(_one_at_a_time)\n",
        "",
        *UNDISTURBED,
    ),
    _m(
        "torch state not restored",
        "training/random_states.py",
        "    yield lambda: torch.set_rng_state(cpu)\n",
        "",
        *UNDISTURBED,
    ),
    _m(
        "ranks: missing ones not named",
        "training/ranks.py",
        "        if waited > next_line:\n",
        "        if False:\n",
        WAITS,
    ),
    _m(
        "ranks: waited for without an end",
        "training/ranks.py",
        "        if waited > COMES:\n",
        "        if False and waited:\n",
        WAITS,
    ),
    # ---- life
    _m(
        "border: an event's failure gets out",
        "monitor/border.py",
        "        except Exception as problem:\n            if self",
        "        except ZeroDivisionError as problem:\n            if self",
        "tests/faults/test_outages.py",
        "tests/test_callback.py",
    ),
    _m(
        "evaluation: its failure gets out",
        "evaluation/evaluator.py",
        "        except Exception as problem:\n            error = problem\n        facts",
        "        except ZeroDivisionError as problem:\n            error = problem\n        facts",
        "tests/faults/test_rows.py",
    ),
    _m(
        "overlap: stuck process waited for",
        "monitor/overlap/worker.py",
        "            if waited >= patience:\n",
        "            if False:\n",
        WAITS,
    ),
    _m(
        "overlap: no experience",
        "monitor/overlap/queue.py",
        "max(SHORTEST, TIMES * self._dearest) if self._dearest else FIRST",
        "FIRST",
        WAITS,
    ),
    _m(
        "watch: forged numbers are sizes",
        "sweep/ready.py",
        "    if newest // every > MOST_DUE:",
        "    if False:",
        "tests/sweep/test_ready.py",
    ),
    _m(
        "watch: a turn for each gap",
        "sweep/watcher.py",
        "            self._record_gaps(new)\n",
        "            for step in new:\n                self._record_gaps([step])\n",
        "tests/sweep/test_ready.py",
    ),
    _m(
        "watch: what was gone before is put on the curve",
        "sweep/watcher.py",
        "([] if self._looked else [s for s in gone if s not in self._seen])",
        "[]",
        "tests/sweep/test_ready.py",
    ),
)

# Name -> why no test needs the line.
EXPLAINED = {
    "pin: not synced": "what a loss of power takes out of a kept folder is noticed, and that best is said to "
    "be gone; the Trainer's own folder is no more durable",
}


def survives(mutant: Mutant, copy: Path) -> str:
    """Why a mutant is alive; empty if a test killed it."""
    path = copy / "rm_monitor" / mutant.file
    source = path.read_text(encoding="utf-8")
    broken = source.replace(mutant.old, mutant.new) if mutant.old else source
    path.write_text(broken, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(copy), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    try:
        for test in mutant.tests:
            command = [
                sys.executable,
                "-m",
                "pytest",
                "-x",
                "-q",
                "-p",
                "no:cacheprovider",
                "-p",
                "no:xdist",
                test,
            ]
            try:
                ran = subprocess.run(
                    command,
                    cwd=copy,
                    env=environment,
                    capture_output=True,
                    text=True,
                    timeout=LIMIT,
                    check=False,
                )
            except subprocess.TimeoutExpired:
                return ""
            if ran.returncode == 1:
                return ""
            if ran.returncode != 0:
                return f"{test} did not run: {(ran.stdout + ran.stderr)[-200:]}"
        return f"missed by {', '.join(mutant.tests)}"
    finally:
        path.write_text(source, encoding="utf-8")


def passes(test: str, copy: Path) -> bool:
    """Whether a file of tests passes with nothing broken: only then does its failing mean anything."""
    nothing = Mutant("nothing", "__init__.py", "", "", (test,))
    return survives(nothing, copy).startswith("missed")


def main(words: list[str]) -> int:
    """Run and print."""
    chosen = [m for m in MUTANTS if not words or any(w in m.name for w in words)]
    alive = 0
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        for name in ("rm_monitor", "tests", "pyproject.toml", "README.md", "examples", "docs", "benchmarks"):
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, copy / name)
        print("| mutant | |\n|---|---|", flush=True)
        sound = {test: passes(test, copy) for test in sorted({t for m in chosen for t in m.tests})}
        for test in [test for test, fine in sound.items() if not fine]:
            print(f"| ({test} fails with nothing broken: it is not asked) | |", flush=True)
        for mutant in chosen:
            mutant = replace(mutant, tests=tuple(t for t in mutant.tests if sound[t]))
            began = time.monotonic()
            why = survives(mutant, copy)
            if why and mutant.name in EXPLAINED:
                why = f"explained: {EXPLAINED[mutant.name]}"
            elif why:
                alive += 1
            print(f"| {mutant.name} | {why or 'killed'} ({time.monotonic() - began:.0f} s) |", flush=True)
    print(f"{len(chosen) - alive} of {len(chosen)} killed or explained")
    return 1 if alive else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
