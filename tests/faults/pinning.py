"""Crashes while the best checkpoint is pinned: at every call into the system, and by SIGKILL."""

from __future__ import annotations

import errno
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from rm_monitor.checkpoints import keeper
from rm_monitor.checkpoints.keeper import Keeper
from rm_monitor.runs import best_of

CALLS = ("open", "mkdir", "rmdir", "unlink", "link", "symlink", "replace", "rename", "fsync", "write")


FAST = (
    "/dev/shm" if os.path.isdir("/dev/shm") else None
)  # a disk that syncs at once: what is tested is the order


class Crash(BaseException):
    """The process is gone: nothing after it runs."""


def checkpoint(folder: Path, step: int, *, state: bool = True) -> Path:
    """A small whole checkpoint whose weights tell its step."""
    path = folder / f"checkpoint-{step}"
    path.mkdir(parents=True, exist_ok=True)
    (path / "config.json").write_text(json.dumps({"step": step}))
    (path / "tokenizer.json").write_text("{}")
    save_file({"w": np.full(600, step, dtype=np.float32)}, path / "model.safetensors")
    if state:
        (path / "optimizer.pt").write_bytes(b"not needed to load")
        (path / "trainer_state.json").write_text(json.dumps({"global_step": step}))
    return path


def step_of_weights(folder: Path) -> int | None:
    """The step that a checkpoint's weights and its config agree on; None if it cannot be loaded."""
    try:
        weights = load_file(folder / "model.safetensors")["w"]
        step = json.loads((folder / "config.json").read_text())["step"]
    except Exception:
        return None
    return step if (weights == step).all() else None


def fault(folder: Path, allowed: set[int]) -> str | None:
    """What is wrong with the best that a reader finds; None if it is one of the allowed ones, and loads."""
    best = best_of(folder)
    if best is None:
        return None if 0 in allowed else "there is no best"
    step = step_of_weights(Path(best["path"]))
    if step is None:
        return "the best cannot be loaded"
    if step != best["step"]:
        return f"best.json says {best['step']}, the weights are of {step}"
    shown = folder / "_rm_monitor" / "best"
    if shown.exists() and step_of_weights(shown) not in allowed:
        return f"`best` shows {step_of_weights(shown)}"
    return None if step in allowed else f"step {step} is the best, not one of {allowed}"


@contextmanager
def crashing(at: int, *, broken: dict[str, int]) -> Iterator[list[int]]:
    """Crash at the `at`-th call into the system; calls named in `broken` always fail with that errno."""
    count = [0]
    real = {name: getattr(os, name) for name in CALLS}

    def wrap(name: str) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            count[0] += 1
            if count[0] == at:
                raise Crash
            if name in broken:
                raise OSError(broken[name], os.strerror(broken[name]))
            return real[name](*args, **kwargs)

        return call

    try:
        for name in CALLS:
            setattr(os, name, wrap(name))
        yield count
    finally:
        for name in CALLS:
            setattr(os, name, real[name])


FILE_SYSTEMS: dict[str, dict[str, int]] = {
    "links": {},
    "no hard links": {"link": errno.EPERM},
    "another file system": {"link": errno.EXDEV},
    "no links of any kind": {"link": errno.ENOTSUP, "symlink": errno.EPERM},
}


def session(folder: Path, marked: list[int]) -> None:
    """Pin, mark, re-rank, judge a step again, prune: what a run does. `marked` tells what is being marked."""
    kept = Keeper(folder / "_rm_monitor")
    kept.tidy()
    for step in (10, 20):
        kept.pin(step, folder / f"checkpoint-{step}")
    for step in (10, 20):
        marked.append(step)
        kept.mark_best(step, {"value": step})
    kept.pin(20, folder / "again" / "checkpoint-20")  # the same step, written again
    marked.append(20)
    kept.mark_best(20, {"value": 20.5})
    kept.prune({20})


def crash_points(file_system: str, every: int = 1) -> tuple[int, list[str]]:
    """Crash once at every call into the system, or at every so many-th.

    Returns:
        How many crashes, and what a reader found wrong after one, or after the next process went on.
    """
    wrong: list[str] = []
    at = crashes = 0
    keeper._SMALL, small = 1000, keeper._SMALL  # the weights are linked, as large ones are
    try:
        while True:
            at += every
            with tempfile.TemporaryDirectory(dir=FAST) as temporary:
                folder = Path(temporary)
                for where in (folder, folder / "again"):
                    for step in (10, 20, 30):
                        checkpoint(where, step)
                (folder / "_rm_monitor").mkdir()
                marked = [0]
                try:
                    with crashing(at, broken=FILE_SYSTEMS[file_system]):
                        session(folder, marked)
                    return crashes, wrong
                except Crash:
                    crashes += 1
                found = fault(folder, set(marked[-2:]))
                if found:
                    wrong.append(f"call {at}: {found}")
                with crashing(-1, broken=FILE_SYSTEMS[file_system]):
                    kept = Keeper(folder / "_rm_monitor")
                    kept.tidy()
                    found = fault(folder, set(marked[-2:]))
                    if found:
                        wrong.append(f"call {at}, after tidying: {found}")
                    kept.pin(30, folder / "checkpoint-30")
                    kept.mark_best(30, {})
                    kept.prune({30})
                left = sorted(p.name for p in (folder / "_rm_monitor").rglob("*") if p.is_dir())
                if fault(folder, {30}) or left not in (["kept", "step-30"], ["best", "kept", "step-30"]):
                    wrong.append(f"call {at}, the next process: {fault(folder, {30})} {left}")
    finally:
        keeper._SMALL = small


def campaign() -> Iterator[tuple[str, str, str]]:
    """Every call, every kind of file system."""
    for name in FILE_SYSTEMS:
        count, wrong = crash_points(name)
        got = f"{len(wrong)} unloadable or wrong, {count} crash points" + "".join(f"; {w}" for w in wrong[:3])
        yield f"crash at every call of pinning, {name}", "0 unloadable or wrong", got
