"""``python -m tests.faults [name ...]``: run the campaigns, print one table, exit 1 if a figure falls short.

A campaign is a module here with ``campaign() -> Iterator[(figure, reach, got)]``. A figure is reached when
``got`` begins with the very words of ``reach``; what follows them is detail. Rows are kept in
``.faults/rows.jsonl`` with the time they took, so that a long table is made in parts: ``--table`` prints the
last row of every figure.
"""

from __future__ import annotations

import json
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
KEPT = Path(os.environ.get("RM_MONITOR_FAULTS", ".faults/rows.jsonl"))
HEAD = "| figure | reach | got | |\n|---|---|---|---|"


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


def line(figure: str, reach: str, got: str) -> str:
    """A row of the table."""
    return f"| {figure} | {reach} | {got} | {'ok' if reached(reach, got) else 'SHORT'} |"


def table() -> int:
    """Print the last row of every figure, by campaign; 1 if one falls short."""
    last: dict[str, dict[str, str]] = {}
    for text in KEPT.read_text(encoding="utf-8").splitlines():
        row = json.loads(text)
        last.setdefault(row["campaign"], {})
        last[row["campaign"]] |= {row["figure"]: text}
    print(HEAD)
    short = 0
    for campaign in sorted(last):
        for text in last[campaign].values():
            row = json.loads(text)
            short += not reached(row["reach"], row["got"])
            print(line(row["figure"], row["reach"], row["got"]))
    return 1 if short else 0


def main(asked: list[str]) -> int:
    """Run and print."""
    if asked == ["--table"]:
        return table()
    unknown = sorted(set(asked) - set(names()))
    if unknown:
        print(f"no campaign {unknown}; there are {names()}", file=sys.stderr)
        return 2
    short = 0
    KEPT.parent.mkdir(parents=True, exist_ok=True)
    print(HEAD, flush=True)
    for name in asked or names():
        began, spent = time.monotonic(), time.process_time()
        for figure, reach, got in rows(name):
            short += not reached(reach, got)
            print(line(figure, reach, got), flush=True)
            with KEPT.open("a", encoding="utf-8") as kept:
                kept.write(
                    json.dumps({"campaign": name, "figure": figure, "reach": reach, "got": got}) + "\n"
                )
        print(
            f"{name}: {time.monotonic() - began:.0f} s, {time.process_time() - spent:.0f} CPU-s here",
            file=sys.stderr,
            flush=True,
        )
    if not asked:
        print()
        table()
    return 1 if short else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
