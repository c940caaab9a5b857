"""The table of failing calls on two ranks: the disk of the one that writes fails, none waits for the other.

Both ranks run every cell, in one pair of processes: what hangs is noticed by the time the whole takes.
"""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.faults import outages

EVERY = int(os.environ.get("RM_MONITOR_EVERY", "4"))  # of so many places one
MOMENTS = ("first", "two steps")
LIMIT = 3600.0  # seconds for all of it


def main(policy: str, out: str) -> None:
    """What each rank does; rank 0 writes a line a cell."""
    import torch.distributed as dist
    from transformers import AutoTokenizer

    folder, rank = Path(out), int(os.environ["RANK"])
    tokenizer = AutoTokenizer.from_pretrained(policy)
    number = 0

    def both(fails: object = None) -> tuple[outages.Run, list[str]]:
        nonlocal number
        number += 1
        where = folder / f"cell-{number}"
        where.mkdir(exist_ok=True)
        found = outages.run(
            Path(policy), tokenizer, fails if rank == 0 else None, out=where, ddp_backend="gloo"
        )
        ended: list[str] = [""] * 2
        dist.all_gather_object(ended, found.ended)
        return found, ended

    whole, ended = both()
    assert ended == ["", ""], ended
    gc.collect()
    gc.freeze()
    box = [sorted(whole.reached.items())]
    dist.broadcast_object_list(box, src=0)
    with (folder / f"rank-{rank}.jsonl").open("w", encoding="utf-8") as told:
        for place, reached in box[0][::EVERY]:
            for moment in MOMENTS:
                found, ended = both(outages.when(place, moment, reached))
                why = outages.judge(found, whole) if rank == 0 else ""
                why = why or (f"the other rank: {ended[1]}" if ended[1] and not ended[0] else "")
                told.write(json.dumps([place, moment, why]) + "\n")
                told.flush()
    dist.destroy_process_group()


def campaign() -> Iterator[tuple[str, str, str]]:
    """One row."""
    root = Path(__file__).parents[2]
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as folder:
        policy, _ = outages.setting(Path(folder))
        command = [
            *(sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2"),
            *("--rdzv_backend", "c10d", "--rdzv_endpoint", "127.0.0.1:0"),
            *("-m", "tests.faults.ranks_outages", str(policy), folder),
        ]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(root), *sys.path])}
        done = subprocess.run(
            command,
            cwd=root,
            env=environment,
            capture_output=True,
            text=True,
            timeout=LIMIT,
            check=False,
        )
        lines = (Path(folder) / "rank-0.jsonl").read_text(encoding="utf-8").splitlines()
        rows = [json.loads(line) for line in lines]
    wrong = [row for row in rows if row[2]] + ([["", "", done.stderr[-300:]]] if done.returncode else [])
    yield (
        f"two ranks, every {EVERY}th call fails on the one that writes: both trained on, said, whole",
        f"{len(rows)} of {len(rows)}",
        f"{len(rows) - len(wrong)} of {len(rows)} {wrong[:4] or ''}",
    )


if __name__ == "__main__":
    main(*sys.argv[1:3])
