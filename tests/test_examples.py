"""Every example and integration runs as it stands, on tiny models, and says what it found."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCRIPTS = sorted([*ROOT.glob("examples/*.py"), *ROOT.glob("integrations/trl/*.py")])


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_example_runs_and_keeps_a_best_checkpoint(script, tmp_path):
    done = subprocess.run(
        [sys.executable, str(script), "--output-dir", str(tmp_path / "out")],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "verdict: " in done.stdout
    assert (tmp_path / "out" / "_rm_monitor" / "best" / "config.json").is_file()
    assert (tmp_path / "out" / "_rm_monitor" / "report.html").is_file()
