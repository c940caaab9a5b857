"""SIGTERM in the middle of a run, resumed: the curve of an unbroken run (30 moments: `make faults`)."""

import subprocess
import sys
from pathlib import Path

SCRIPT = """
import sys
from pathlib import Path
import tests.helpers
from tests.faults.sigterm import broken_and_resumed, curve, forked, same
policy, out = Path(sys.argv[1]), Path(sys.argv[2])
status, took = forked(policy, out / "whole", None)
assert status == 0, (out / "whole.error").read_text()
for share in (0.6, 0.85):
    first, found = broken_and_resumed(policy, out / str(share), share * took)
    print(share, first, same(found, curve(out / "whole")), len(found))
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
    lines = [line.split() for line in done.stdout.splitlines() if line[:3] in ("0.6", "0.8")]
    assert [line[2:] for line in lines] == [["True", "5"]] * 2
    assert any(line[1] == "-15" for line in lines)
