"""Every example and integration runs as it stands, on tiny models, and says what it found."""

import json
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from rm_monitor.testing.counting import WORDS

ROOT = Path(__file__).parents[1]
SCRIPTS = sorted([*ROOT.glob("examples/*.py"), *ROOT.glob("integrations/trl/[!t]*.py")])


def run(script, folder, *options):
    done = subprocess.run(
        [sys.executable, str(script), "--output-dir", str(folder / "out"), *options],
        capture_output=True,
        text=True,
        cwd=folder,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_example_gets_better_and_keeps_a_best_checkpoint(script, tmp_path):
    done = run(script, tmp_path)
    assert re.search("verdict: (improving|steady)", done.stdout)
    assert json.loads((tmp_path / "out" / "_rm_monitor" / "best.json").read_text())["step"] > 0
    assert (tmp_path / "out" / "_rm_monitor" / "best" / "config.json").is_file()
    assert (tmp_path / "out" / "_rm_monitor" / "report.html").is_file()


def test_an_example_takes_models_and_prompts_of_ones_own(tmp_path, tiny_policy_dir, tiny_reward_model_dir):
    rows = [{"prompt": f"count from {a} to {b}", "completion": f"{a} {b}"} for a, b in pairwise(WORDS)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    own = ["--policy", tiny_policy_dir, "--reward-model", tiny_reward_model_dir]
    own += ["--prompts", "rows.jsonl", "--training", "rows.jsonl", "--steps", "2", "--every", "2"]
    done = run(ROOT / "examples" / "trainer_sft.py", tmp_path, *map(str, own), "--max-new-tokens", "4")
    assert "win prob" in done.stdout + done.stderr
