"""Start `tests.distributed.cells` in several processes and read what each rank found."""

import json
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parents[2]
LEFT = ("weights", "optimizer", "random", "losses")  # what training leaves, rank by rank


def launch(policy, out, cells, *, ranks):
    """Rank -> cell -> what it found. Not `accelerate launch --cpu`: it starts one process without a word."""
    out.mkdir(parents=True, exist_ok=True)
    start = [sys.executable, "-m"]
    if ranks > 1:
        start += ["torch.distributed.run", "--nproc_per_node", str(ranks), "--master_addr", "127.0.0.1"]
        start += ["--rdzv_backend", "c10d", "--rdzv_endpoint", "127.0.0.1:0", "-m"]
    done = subprocess.run(
        [*start, "tests.distributed.cells", str(policy), str(out), *cells],
        capture_output=True,
        text=True,
        check=False,
        cwd=HERE,
        env={**os.environ, "PYTHONPATH": str(HERE), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
    )
    assert done.returncode == 0, done.stderr[-6000:]
    return [json.loads((out / f"rank-{rank}.json").read_text()) for rank in range(ranks)]


def differs(found, cell):
    """What this cell left otherwise than the run without a monitor: ``rank 1: weights`` ..."""
    without = ":".join([*cell.split(":")[:2], "without"])
    return [
        f"rank {rank}: {what}"
        for rank, seen in enumerate(found)
        for what in LEFT
        if seen[cell][what] != seen[without][what]
    ]
