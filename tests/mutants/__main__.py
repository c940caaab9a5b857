"""Break one line of ours, and see that a test notices; exit 1 if a survivor is not explained.

Each mutant is made in a copy of the repository, so that nothing here is touched. A survivor is a line that no
test needs: it is killed by a test, or explained in `EXPLAINED`.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import NoReturn

from tests.mutants import EXPLAINED, MUTANTS, ROOT
from tests.mutants.mutant import Mutant

LIMIT = 300  # seconds of a mutant's tests
SLOW = (
    "torch",
    "transformers",
    "transformers.trainer",
    "peft",
    "datasets",
    "hypothesis",
    "scipy.stats",
    "safetensors.torch",
)
_COPIED = (
    "rm_monitor",
    "tests",
    "pyproject.toml",
    "README.md",
    "SECURITY.md",
    "examples",
    "docs",
    "benchmarks",
)


def survives(mutant: Mutant, copy: Path) -> str:
    """Why a mutant is alive; empty if a test killed it."""
    path = copy / "rm_monitor" / mutant.file
    source = path.read_text(encoding="utf-8")
    path.write_text(source.replace(mutant.old, mutant.new) if mutant.old else source, encoding="utf-8")
    try:
        for test in mutant.tests:
            status, said = _pytest(test, copy)
            if status is None or status == 1 or status < 0:
                return ""
            if status != 0:
                return f"{test} did not run: {said}"
        return f"missed by {', '.join(mutant.tests)}"
    finally:
        path.write_text(source, encoding="utf-8")


def _pytest(test: str, copy: Path) -> tuple[int | None, str]:
    """Status and end of the output of tests run in the copy; None if they do not end, which is noticed too.

    In a fork of this process, which has imported what is slow to import and nothing of ours.
    """
    with tempfile.TemporaryFile() as output:
        child = os.fork()
        if child == 0:
            os.setsid()  # what the tests start ends with them
            for stream in (1, 2):
                os.dup2(output.fileno(), stream)
            _run(test, copy)
        status, began = None, time.monotonic()
        while status is None and time.monotonic() - began < LIMIT:
            ended, code = os.waitpid(child, os.WNOHANG)
            status = os.waitstatus_to_exitcode(code) if ended else None
            time.sleep(0.05)
        with suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)
        if status is None:
            os.waitpid(child, 0)
        output.seek(0)
        return status, output.read().decode(errors="replace")[-300:]


def _run(test: str, copy: Path) -> NoReturn:
    status = 3
    try:
        import pytest

        os.chdir(copy)
        sys.path[:] = [str(copy), *(p for p in sys.path if Path(p or ".").resolve() != ROOT)]
        os.environ["PYTHONPATH"] = str(copy)
        for name in [n for n in sys.modules if n.partition(".")[0] == "tests"]:
            del sys.modules[name]
        status = int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", test]))
    finally:
        sys.stdout.flush()
        os._exit(status)


def passes(test: str, copy: Path) -> bool:
    """Whether a file of tests passes with nothing broken: only then does its failing mean anything."""
    nothing = Mutant("nothing", "__init__.py", "", "", (test,))
    return survives(nothing, copy).startswith("missed")


def chosen(words: list[str]) -> list[Mutant]:
    """The mutants whose names have one of the words; of them every so many-th, with ``--part 2/6``."""
    which, of = 1, 1
    if "--part" in words:
        at = words.index("--part")
        which, of = map(int, words[at + 1].split("/"))
        words = words[:at] + words[at + 2 :]
    asked = [m for m in MUTANTS if not words or any(w in m.name for w in words)]
    asked.sort(key=lambda mutant: mutant.tests)  # what asks the same tests stays together
    size = -(-len(asked) // of)
    return asked[(which - 1) * size : which * size]


def main(words: list[str]) -> int:
    """Run and print."""
    mutants, alive = chosen(words), 0
    for name in SLOW:
        import_module(name)
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        for name in _COPIED:
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, copy / name)
        print("| mutant | |\n|---|---|", flush=True)
        sound = {test: passes(test, copy) for test in sorted({t for m in mutants for t in m.tests})}
        for test in [test for test, fine in sound.items() if not fine]:
            print(f"| ({test} fails with nothing broken: it is not asked) | |", flush=True)
        for mutant in mutants:
            mutant = replace(mutant, tests=tuple(t for t in mutant.tests if sound[t]))
            began = time.monotonic()
            why = survives(mutant, copy)
            if why and mutant.name in EXPLAINED:
                why = f"explained: {EXPLAINED[mutant.name]}"
            elif why:
                alive += 1
            print(f"| {mutant.name} | {why or 'killed'} ({time.monotonic() - began:.0f} s) |", flush=True)
    print(f"{len(mutants) - alive} of {len(mutants)} killed or explained")
    return 1 if alive else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
