"""Does the mathematics keep its promises? Runs of known truth, thousands of them.

    python -m benchmarks.statistics                      all tables (about 15 minutes of one core)
    python -m benchmarks.statistics --quick              a smoke run
    python -m benchmarks.statistics --tables power best  some of them
    python -m benchmarks.statistics --results FILE --plots docs   keep the numbers, draw the plots

Seeds are fixed: the same command gives the same numbers. Rows in ``--results`` are not measured again.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict
from pathlib import Path

from benchmarks import measure
from benchmarks.tables import TABLES, Row

RUNS, QUICK = 400, 5


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, and say whether every target was reached."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--tables", nargs="+", choices=TABLES, default=list(TABLES), help="which; all by default"
    )
    parser.add_argument("--runs", type=int, default=RUNS, help=f"simulated runs a row ({RUNS})")
    parser.add_argument(
        "--replicates",
        type=int,
        default=measure.REPLICATES,
        help="resamples of the detector (10,000 as shipped)",
    )
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} runs a row: does it work at all?")
    parser.add_argument("--results", type=Path, help="JSON file that keeps whole tables")
    parser.add_argument(
        "--plots", type=Path, help="folder for the plots of docs/statistics.md (needs matplotlib)"
    )
    chosen = parser.parse_args(arguments)
    runs = QUICK if chosen.quick else chosen.runs
    measure.REPLICATES = chosen.replicates
    kept = _read(chosen.results)
    for name in chosen.tables:
        print(f"\n## {name}: {TABLES[name].__doc__}", flush=True)
        print("| what | measured | error | runs | reach | |\n|---|---|---|---|---|---|", flush=True)
        start = time.process_time()
        rows = []
        for row in [Row(**r) for r in kept[name]] if name in kept else TABLES[name](runs):
            rows.append(row)
            print(_line(row), flush=True)
        if name not in kept:
            print(f"\n{time.process_time() - start:.0f} CPU-seconds", flush=True)
            kept[name] = [asdict(row) for row in rows]
            if chosen.results:
                chosen.results.write_text(json.dumps(kept, indent=1), encoding="utf-8")
    if chosen.plots:
        from benchmarks.plots import draw

        draw(chosen.plots, kept)
    missed = [f"{name}: {row['what']}" for name in chosen.tables for row in kept[name] if row["met"] is False]
    print("\nall targets reached" if not missed else "\nmissed: " + "; ".join(missed))
    return 1 if missed and not chosen.quick else 0


def _read(path: Path | None) -> dict[str, list[dict[str, object]]]:
    known: dict[str, list[dict[str, object]]] = {}
    if path is not None and path.exists():
        known = json.loads(path.read_text(encoding="utf-8"))
    return known


def _line(row: Row) -> str:
    mark = {True: "yes", False: "**NO**", None: ""}[row.met]
    return f"| {row.what} | {row.value:.3f} | {row.error:.3f} | {row.runs} | {row.reach} | {mark} |"


if __name__ == "__main__":
    raise SystemExit(main())
