"""Who holds a folder: a process, of a machine, of a scheduler's job; and whether it can still be alive."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

from rm_monitor.files.strict_json import read_object

__all__ = ["is_here", "is_same_job", "me", "read", "runs_here"]

# A scheduler that starts a job again says that it is the same one, and for which time it is started.
_JOBS = (("SLURM_JOB_ID", "SLURM_RESTART_COUNT"),)


def me() -> dict[str, Any]:
    """This process, as others read it."""
    job, start = _job()
    return {
        "host": socket.gethostname(),
        "boot": _text("/proc/sys/kernel/random/boot_id"),
        "pid": os.getpid(),
        "born": _born(os.getpid()),
        "job": job,
        "start": start,
    }


def read(path: Path) -> dict[str, Any] | None:
    """What an owner file says; None if it says nothing that can be used."""
    owner = read_object(path)
    return owner if isinstance(owner.get("pid"), int) else None


def is_here(owner: dict[str, Any]) -> bool:
    """Whether it is, or was, a process of this machine."""
    return bool(owner.get("host") == socket.gethostname())


def runs_here(owner: dict[str, Any]) -> bool:
    """Whether a process of this machine still runs."""
    if owner.get("boot") != _text("/proc/sys/kernel/random/boot_id"):
        return False
    try:
        os.kill(owner["pid"], 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return bool(owner.get("born") == _born(owner["pid"]))  # else the number was given to another process


def is_same_job(owner: dict[str, Any]) -> bool:
    """Whether it is an earlier start of this very job: a scheduler ends one before it begins the next."""
    job, start = _job()
    before = owner.get("start")
    return bool(job) and owner.get("job") == job and isinstance(before, int) and before < start


def _job() -> tuple[str, int]:
    for name, restarts in _JOBS:
        if os.environ.get(name):
            told = os.environ.get(restarts, "")
            return f"{name}={os.environ[name]}", int(told) if told.isdigit() else 0
    return "", 0


def _born(pid: int) -> str:
    """When a process began, in ticks since boot; empty where the system does not tell."""
    told = _text(f"/proc/{pid}/stat").rpartition(")")[2].split()[19:20]
    return told[0] if told else ""  # also of a process that ended since it was asked for


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError:
        return ""
