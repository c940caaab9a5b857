"""What a page costs: bytes and CPU-seconds at 40 evaluations x 256 prompts, with answers.

    python -m benchmarks.report

Targets: under 1 MB, under 0.5 CPU-seconds. Exit 1 if one is missed.
"""

import gzip
import sys
import time

from rm_monitor.report.as_json import as_json
from rm_monitor.report.markdown import markdown
from rm_monitor.report.page import page
from rm_monitor.report.view import RunView
from tests.report.example import example

MOST_BYTES, MOST_SECONDS = 1_000_000, 0.5


def fresh(run):
    """Without what an earlier page worked out."""
    return RunView(**{name: getattr(run, name) for name in RunView.__dataclass_fields__})


def cpu(work, runs):
    """Best of five, in CPU-seconds, and what came out."""
    taken = []
    for _ in range(5):
        given = [fresh(run) for run in runs]
        began = time.process_time()
        made = work(given)
        taken.append(time.process_time() - began)
    return min(taken), made


def main():
    one = [example()]
    three = [example(name=name, seed=i) for i, name in enumerate(("dpo-beta0.1", "dpo-beta0.3", "ipo"))]
    print(f"{'':24} {'KB':>7} {'gzip':>6} {'CPU-s':>7}")
    missed = False
    for name, work, runs, bounded in (
        ("page, 1 run", page, one, True),
        ("page, 3 runs", page, three, True),
        ("Markdown", markdown, one, False),
        ("JSON", lambda runs: str(as_json(runs[0])), one, False),
    ):
        seconds, made = cpu(work, runs)
        data = made.encode()
        print(f"{name:24} {len(data) / 1e3:7.0f} {len(gzip.compress(data)) / 1e3:6.0f} {seconds:7.3f}")
        missed |= bounded and (len(data) > MOST_BYTES or seconds > MOST_SECONDS)
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
