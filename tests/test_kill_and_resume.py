"""SIGKILL between two evaluations, resume from the checkpoint: one unbroken curve."""

import json
import os
import signal
import subprocess
import sys

from transformers import AutoModelForCausalLM

from tests.faults.sigterm import same

SCRIPT = """
import os, signal, sys, torch
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from rm_monitor import RewardMonitor, RewardMonitorCallback, Sampling
from tests.helpers import tiny_trainer
torch.set_num_threads(1)
policy, out, kill_at, resume = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4] == "resume"
def score(prompts, completions):
    return [float(len(set(c))) for c in completions]
monitor = RewardMonitor(score, [f"question {i}" for i in range(12)], every=2,
sampling=Sampling(max_new_tokens=6), report_to="none", alarm={"horizon": 6})
class Kill(TrainerCallback):
    def on_step_begin(self, args, state, control, **kwargs):
        if state.global_step == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
trainer = tiny_trainer(AutoModelForCausalLM.from_pretrained(policy), AutoTokenizer.from_pretrained(policy),
out, steps=10,
                       save_strategy="steps", save_steps=2, callbacks=[RewardMonitorCallback(monitor),
                       Kill()])
trainer.train(resume_from_checkpoint=resume or None)
"""


def run(policy, out, kill_at, resume=""):
    return subprocess.run(
        [sys.executable, "-c", SCRIPT, str(policy), str(out), str(kill_at), resume],
        capture_output=True,
        text=True,
        check=False,
        cwd=os.path.dirname(os.path.dirname(__file__)),
    )


def curve(out):
    from rm_monitor.records.history import History

    history = History(out / "_rm_monitor")
    points = history.points()
    history.close()
    return [(p.step, p.segment, p.status, dict(p.metrics)) for p in points]


def test_a_killed_and_resumed_run_has_the_curve_of_an_unbroken_one(tmp_path, tiny_policy_dir):
    unbroken = run(tiny_policy_dir, tmp_path / "whole", -1)
    assert unbroken.returncode == 0, unbroken.stderr[-2000:]
    killed = run(tiny_policy_dir, tmp_path / "broken", 7)
    assert killed.returncode == -signal.SIGKILL
    references = sorted((tmp_path / "broken" / "_rm_monitor" / "references").iterdir())
    before = [p.read_bytes() for p in references]
    resumed = run(tiny_policy_dir, tmp_path / "broken", -1, "resume")
    assert resumed.returncode == 0, resumed.stderr[-2000:]

    assert [p.read_bytes() for p in references] == before
    assert [step for step, *_ in curve(tmp_path / "broken")] == [0, 2, 4, 6, 8, 10]
    assert same(curve(tmp_path / "broken"), curve(tmp_path / "whole"))
    whole, broken = (
        json.loads((tmp_path / name / "_rm_monitor" / "best.json").read_text())["step"]
        for name in ("whole", "broken")
    )
    assert whole == broken
    AutoModelForCausalLM.from_pretrained(tmp_path / "broken" / "_rm_monitor" / "best")
