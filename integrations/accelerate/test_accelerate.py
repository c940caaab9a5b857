"""A loop that logs with `step=` through accelerate's trackers: nobody's row is lost."""

import math

import torch
import wandb
from accelerate import Accelerator
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from transformers import AutoModelForCausalLM, AutoTokenizer

from rm_monitor import RewardMonitor
from rm_monitor.integrations.accelerate import AcceleratorSink
from tests.wandb_file import history


def test_our_rows_and_the_loops_stand_at_the_same_steps_in_every_tracker(given):
    accelerator = Accelerator(cpu=True, log_with=["wandb", "tensorboard"], project_dir="logs")
    accelerator.init_trackers("loop", init_kwargs={"wandb": {"dir": ".", "settings": {"console": "off"}}})
    tokenizer = AutoTokenizer.from_pretrained("tiny/policy")
    model = AutoModelForCausalLM.from_pretrained("tiny/policy", dtype=torch.float32)
    model, optimizer = accelerator.prepare(model, torch.optim.AdamW(model.parameters(), 3e-3))
    sink = AcceleratorSink(accelerator)
    monitor = RewardMonitor.from_config({**given.settings, "every": 2, "output_dir": "out"}, report_to=[sink])
    ids = tokenizer("count from one to two", return_tensors="pt").input_ids
    for step in range(5):
        monitor.step(step, model, tokenizer)  # before the loop's own row of this step
        loss = model(input_ids=ids, labels=ids).loss
        accelerator.backward(loss)
        optimizer.step()
        optimizer.zero_grad()
        accelerator.log({"loss": float(loss)}, step=step)
    monitor.close()
    accelerator.end_training()
    wandb.teardown()
    (path,) = given.folder.glob("wandb/offline-run-*/run-*.wandb")
    rows = list(history(path))
    assert [row["_step"] for row in rows if "loss" in row] == [0, 1, 2, 3, 4]
    assert [row["_step"] for row in rows if "rm_monitor/win_prob" in row] == [0, 2, 4]
    events = EventAccumulator("logs/loop").Reload()
    points = {e.step: e.value for e in events.Scalars("rm_monitor/win_prob")}
    assert points.keys() == {0, 2, 4}
    curve = given.curve("out")
    assert all(math.isclose(points[step], curve[step], rel_tol=1e-6) for step in points)
