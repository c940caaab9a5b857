"""Does the mathematics keep its promises? Runs of known truth, thousands of them.

    python -m benchmarks.statistics                      all tables (about an hour and a half of one core)
    python -m benchmarks.statistics --quick              a smoke run
    python -m benchmarks.statistics --tables falls best  some of them
    python -m benchmarks.statistics --results FILE --plots docs   keep the numbers, draw the plots

Seeds are fixed: the same command gives the same numbers. What stands in ``--results`` is not measured again:
a run that was broken off goes on, and tables share what they have in common. The table of real curves needs
a folder of them in the environment variable RM_MONITOR_REAL.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from benchmarks.kept import Kept
from benchmarks.rows import Row
from benchmarks.tables import TABLES

RUNS, QUICK = 400, 3


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, and say whether every target was reached."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--tables", nargs="+", choices=TABLES, default=list(TABLES), help="which; all by default"
    )
    parser.add_argument("--runs", type=int, default=RUNS, help=f"simulated runs a row ({RUNS})")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} runs a row: does it work at all?")
    parser.add_argument("--results", type=Path, help="JSON file that keeps what was measured")
    parser.add_argument(
        "--plots", type=Path, help="folder for the plots of docs/statistics.md (needs matplotlib)"
    )
    chosen = parser.parse_args(arguments)
    runs = QUICK if chosen.quick else chosen.runs
    kept = Kept(chosen.results)
    rows: dict[str, list[Row]] = {}
    for name in chosen.tables:
        print(f"\n## {name}: {TABLES[name].__doc__}", flush=True)
        print("| what | measured | error | runs | reach | |\n|---|---|---|---|---|---|", flush=True)
        start = time.process_time()
        rows[name] = []
        for row in TABLES[name](runs, kept):
            rows[name].append(row)
            print(_line(row), flush=True)
        print(f"\n{time.process_time() - start:.1f} CPU-seconds", flush=True)
    if chosen.plots:
        from benchmarks.plots import draw

        draw(chosen.plots, rows)
    missed = [f"{name}: {row.what}" for name, table in rows.items() for row in table if row.met is False]
    print("\nall targets reached" if not missed else "\nmissed: " + "; ".join(missed))
    return 1 if missed and not chosen.quick else 0


def _line(row: Row) -> str:
    mark = {True: "yes", False: "**NO**", None: ""}[row.met]
    return f"| {row.what} | {row.value:.3f} | {row.error:.3f} | {row.runs} | {row.reach} | {mark} |"


if __name__ == "__main__":
    raise SystemExit(main())
