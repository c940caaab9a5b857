"""Ray Train and `sweep --ray` with a real Ray."""

import json
import subprocess
import sys
from pathlib import Path


def work(config):
    import os

    import torch
    from datasets import load_dataset
    from ray.train.huggingface.transformers import RayTrainReportCallback, prepare_trainer
    from transformers import (
        AutoModelForCausalLM,
        AutoTokenizer,
        DataCollatorForSeq2Seq,
        Trainer,
        TrainingArguments,
    )

    from rm_monitor import RewardMonitor, RewardMonitorCallback
    from rm_monitor.integrations.ray import StoreInRay

    os.chdir(config["here"])
    torch.set_num_threads(1)
    tokenizer = AutoTokenizer.from_pretrained("tiny/policy")

    def encode(row):
        ids = tokenizer.apply_chat_template(row["messages"], tokenize=True, return_dict=False)
        return {"input_ids": ids, "labels": ids}

    data = load_dataset("json", data_files="data/chat.jsonl", split="train").map(
        encode, remove_columns=["messages"]
    )
    monitor = RewardMonitor.from_config("monitor.yaml")
    trainer = Trainer(
        model=AutoModelForCausalLM.from_pretrained("tiny/policy", dtype=torch.float32),
        args=TrainingArguments(
            output_dir="out",
            max_steps=20,
            learning_rate=3e-3,
            save_steps=10,
            logging_steps=10,
            report_to="none",
            use_cpu=True,
        ),
        train_dataset=data,
        data_collator=DataCollatorForSeq2Seq(tokenizer, return_tensors="pt"),
        processing_class=tokenizer,
        callbacks=[RewardMonitorCallback(monitor), StoreInRay(monitor), RayTrainReportCallback()],
    )
    prepare_trainer(trainer).train()


def test_ray_train_reports_our_numbers_and_keeps_our_files_and_a_sweep_agrees(given):
    import ray
    from ray.train import RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    ray.init(include_dashboard=False, num_cpus=2)
    try:
        result = TorchTrainer(
            work,
            train_loop_config={"here": str(given.folder)},
            scaling_config=ScalingConfig(num_workers=1, use_gpu=False),
            run_config=RunConfig(storage_path=str(given.folder / "store"), name="x"),
        ).fit()
    finally:
        ray.shutdown()
    curve = given.curve("out")
    assert result.metrics["rm_monitor/win_prob"] == curve[20]
    kept = Path("store/x/_rm_monitor")
    assert (kept / "report.html").is_file()
    assert (kept / "best" / "model.safetensors").is_file()
    command = [
        sys.executable,
        "-m",
        "rm_monitor",
        "sweep",
        "out",
        "--config",
        "monitor.yaml",
        "--ray",
        "local",
    ]
    settings = given.settings | {"output_dir": "swept"}
    Path("monitor.yaml").write_text(json.dumps(settings))
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stderr[-3000:]
    assert {step: given.curve("swept")[step] for step in (10, 20)} == {s: curve[s] for s in (10, 20)}
