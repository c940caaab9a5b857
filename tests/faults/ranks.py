"""One completions hash for any number of ranks and batch size; out of memory on one rank changes nothing."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.distributed.launch import launch
from tests.faults.policy import save_policy

BATCHES = (1, 4, 64)


def campaign() -> Iterator[tuple[str, str, str]]:
    """Two rows: as many rows at once as asked for, and the last rank with room for 1."""
    with tempfile.TemporaryDirectory() as folder:
        policy = save_policy(Path(folder) / "policy")
        roomy, short = set(), set()
        for ranks in (1, 2, 3):
            names = [f"answers:{n}" for n in BATCHES]
            found = launch(policy, Path(folder) / str(ranks), [*names, "answers:64:1"], ranks=ranks)
            roomy |= {(found[0][name]["answers"], found[0][name]["curve"]) for name in names}
            short.add((found[0]["answers:64:1"]["answers"], found[ranks - 1]["answers:64:1"]["batch"]))
        yield "ranks {1, 2, 3} x batch sizes {1, 4, 64}: completions and rewards hashes", "1", str(len(roomy))
        same = {answers for answers, _ in short} == {answers for answers, _ in roomy}
        yield (
            "out of memory on one of {1, 2, 3} ranks: the same hash, its batch halved to what fits",
            "yes, 1",
            f"{'yes' if same else 'no'}, {', '.join(sorted({str(batch) for _, batch in short}))}",
        )
