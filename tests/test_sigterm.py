"""SIGTERM in the middle of a run, resumed: the curve of an unbroken run (30 moments: `make faults`)."""

import subprocess
import sys
from pathlib import Path

SCRIPT = """
import sys
from pathlib import Path
import tests.helpers
from tests.faults.sigterm import curve, cut_and_resumed, forked, same
policy, out = Path(sys.argv[1]), Path(sys.argv[2])
status, took = forked(policy, out / "whole", None)
assert status == 0, (out / "whole.error").read_text()
for share in (0.8, 0.5):
    found = cut_and_resumed(policy, out / str(share), iter([took * share, took * share / 2, took * share /
    4]))
    print("resumed", same(found, curve(out / "whole")), [step for step, *_ in found])
"""


def test_a_terminated_and_resumed_run_has_the_curve_of_an_unbroken_one(tmp_path, tiny_policy_dir):
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tiny_policy_dir), str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[1],
    )
    assert done.returncode == 0, done.stderr[-3000:]
    lines = [line for line in done.stdout.splitlines() if line.startswith("resumed")]
    assert lines == ["resumed True [0, 2, 4, 6, 8]"] * 2
