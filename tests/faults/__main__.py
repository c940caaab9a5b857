"""``python -m tests.faults [name ...]``: run the campaigns, print one table, exit 1 if a figure falls short.

A campaign is a module here with ``campaign() -> Iterator[(figure, reach, got)]``. A figure is reached when
``got`` begins with the very words of ``reach``; what follows them is detail.
"""

from __future__ import annotations

import os
import sys
import time
import traceback
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

for _name, _value in {
    "OMP_NUM_THREADS": "1",
    "HF_HUB_OFFLINE": "1",
    "WANDB_MODE": "offline",
    "WANDB_SILENT": "true",
    "TOKENIZERS_PARALLELISM": "false",
}.items():
    os.environ.setdefault(_name, _value)

Row = tuple[str, str, str]


def names() -> list[str]:
    """Every campaign here."""
    found = sorted(Path(__file__).parent.glob("*.py"))
    return [p.stem for p in found if "\ndef campaign(" in p.read_text(encoding="utf-8")]


def reached(reach: str, got: str) -> bool:
    """Whether a figure is reached."""
    return got.startswith(reach) and not got[len(reach) : len(reach) + 1].isalnum()


def rows(name: str) -> Iterator[Row]:
    """A campaign's rows; a campaign that breaks is a row that falls short."""
    try:
        yield from import_module(f"tests.faults.{name}").campaign()
    except Exception as problem:
        traceback.print_exc()
        yield name, "runs to its end", f"{type(problem).__name__}: {problem}"


def main(asked: list[str]) -> int:
    """Run and print."""
    unknown = sorted(set(asked) - set(names()))
    if unknown:
        print(f"no campaign {unknown}; there are {names()}", file=sys.stderr)
        return 2
    short = 0
    print("| figure | reach | got | |\n|---|---|---|---|", flush=True)
    for name in asked or names():
        began = time.monotonic()
        for figure, reach, got in rows(name):
            fine = reached(reach, got)
            short += not fine
            print(f"| {figure} | {reach} | {got} | {'ok' if fine else 'SHORT'} |", flush=True)
        print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    return 1 if short else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
