"""The verdict on disk: ``verdict.json``, what the run itself said of its curve, for readers and schedulers.

A curve alone does not tell it all: fresh prompts may have settled a warning, a second judge or the
training reward may have spoken. The file names the curve it was said of, and is believed of no other.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from rm_monitor import files
from rm_monitor.files.digest import digest
from rm_monitor.files.strict_json import dumps, loads, number
from rm_monitor.types import Best, Estimate, EvalPoint, Signal, Verdict

__all__ = ["read_verdict", "write_verdict"]

FILE = "verdict.json"
SCHEMA = 1


def write_verdict(folder: str | Path, verdict: Verdict, curve: Sequence[EvalPoint]) -> None:
    """Replace ``verdict.json`` atomically; unknown numbers are null."""
    said = {"schema": SCHEMA, "curve": _name(curve), **asdict(verdict)}
    files.replace(Path(folder) / FILE, dumps(said, indent=1) + "\n")


def read_verdict(folder: str | Path, curve: Sequence[EvalPoint]) -> Verdict | None:
    """What was said of exactly this curve; None if nothing was, or it cannot be read.

    Example:
        >>> import tempfile
        >>> curve = [EvalPoint(step=8, segment="s")]
        >>> said = Verdict(state="steady", step=8, value=Estimate(0.5, 0.4, 0.6, 9), states=((8, "steady"),))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_verdict(folder, said, curve)
        ...     read_verdict(folder, curve).value, read_verdict(folder, []) is None
        (Estimate(value=0.5, low=0.4, high=0.6, n=9), True)
    """
    try:
        said = loads((Path(folder) / FILE).read_text(encoding="ascii"))
        if said.pop("schema") != SCHEMA or said.pop("curve") != _name(curve):
            return None
        return _verdict(said)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _name(curve: Sequence[EvalPoint]) -> str:
    points = [
        [p.step, p.status, p.segment, p.attempt, {m: e.value for m, e in p.metrics.items()}] for p in curve
    ]
    return digest(points)


def _verdict(said: Mapping[str, Any]) -> Verdict:
    best = said["best"]
    known = {
        **_read(Verdict, said),
        "against": tuple(said["against"]),
        "states": tuple((int(step), state) for step, state in said["states"]),
        "flags": tuple(said["flags"]),
        "best": None if best is None else Best(**{**_read(Best, best), "tied": tuple(best["tied"])}),
        "signals": tuple(
            Signal(**{**_read(Signal, s), "against": tuple(s["against"])}) for s in said["signals"]
        ),
    }
    return Verdict(**known)


def _read(kind: type, said: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of a dataclass: estimates, and numbers that were unknown."""
    found = {}
    for f in fields(kind):
        value = said[f.name]
        if "Estimate" in str(f.type) and value is not None:
            a, b, c = (number(x) for x in value[:3])
            value = Estimate(a, b, c, int(value[3]))
        elif f.type == "float" and value is None:
            value = math.nan
        found[f.name] = value
    return found
