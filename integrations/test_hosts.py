"""One life in every host: a curve, an end, a resume in a new process, a blow-up; and what was seen of it.

`make hosts` runs it in each host's own environment and puts what was found into the table of README.md.
"""

import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from integrations.lives import HERE, HOSTS

EVERY, HALF, PLANTED = 20, 80, 120
STEPS = 2 * HALF


def train(host, steps, *, resume=False, planted=None):
    path = [str(HERE / "planted"), str(HERE.parent)]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(path)}
    if planted is not None:
        env["RM_MONITOR_PLANTED"] = str(planted)
    command = [sys.executable, *host.command(steps, resume)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    said = done.stdout + done.stderr
    Path(f"said-{steps}.log").write_text(said)
    assert done.returncode == 0, said[-4000:]


def wandb_rows(host, paths):
    """Step -> win probability, as W&B's files have it."""
    from tests.wandb_file import history

    rows = [row for path in paths for row in history(path) if "rm_monitor/win_prob" in row]
    return {row[host.axis]: row["rm_monitor/win_prob"] for row in rows}


def test_a_life_in_the_host(given, pytestconfig):
    name = pytestconfig.getoption("--host")
    if name is None:
        pytest.skip("--host NAME")
    host, found = HOSTS[name], {}
    began = time.monotonic()
    Path("monitor.yaml").write_text(yaml.safe_dump({**given.settings, "every": EVERY}))
    try:
        train(host, HALF)
        first = given.curve("out")
        assert list(first) == list(range(0, HALF + 1, EVERY))
        assert first[HALF] > first[0]
        found["curve"] = f"{len(first)} points, {100 * first[0]:.0f} to {100 * first[HALF]:.0f} %"

        train(host, STEPS, resume=True, planted=PLANTED - HALF)
        curve = given.curve("out")
        assert list(curve) == list(range(0, STEPS + 1, EVERY))
        assert {step: curve[step] for step in first if step < HALF} == {
            s: first[s] for s in first if s < HALF
        }
        assert math.isclose(curve[HALF], first[HALF], abs_tol=1e-6)
        found["resume"] = f"goes on at {HALF}"

        (folder,) = given.folder.glob("out/**/_rm_monitor")
        verdict = json.loads((folder / "verdict.json").read_text())
        assert verdict["state"] == "degraded", verdict
        assert verdict["step"] > PLANTED
        found["alarm"] = f"{verdict['step'] - PLANTED} steps after it"

        best = json.loads((folder / "best.json").read_text())
        assert best["step"] <= PLANTED
        assert given.best("out") is not None
        found["best"] = f"step {best['step']}, loads"

        rows = wandb_rows(host, sorted(given.folder.glob("**/offline-run-*/run-*.wandb")))
        found["wandb"] = f"{len(rows.keys() & curve.keys())} of {len(curve)}"
        assert rows == pytest.approx(curve)
    finally:
        found |= {"version": host.version(), "lines": host.lines(), "seconds": time.monotonic() - began}
        results = Path(os.environ.get("RM_MONITOR_HOSTS", HERE.parent / ".hosts")) / "results"
        results.mkdir(parents=True, exist_ok=True)
        (results / f"{name}.json").write_text(json.dumps(found, indent=1) + "\n")
