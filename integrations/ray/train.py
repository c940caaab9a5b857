"""Ray Train with a monitor; `python integrations/task.py` first."""

import os
from pathlib import Path

import ray
from ray.train import RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer

from integrations.task import arguments, rows


def work(config):
    import torch
    import wandb
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
    tokenizer = AutoTokenizer.from_pretrained("tiny/policy")
    monitor = RewardMonitor.from_config("monitor.yaml")
    trainer = Trainer(
        model=AutoModelForCausalLM.from_pretrained("tiny/policy", dtype=torch.float32),
        args=TrainingArguments(
            output_dir="out",
            max_steps=config["steps"],
            per_device_train_batch_size=16,
            learning_rate=3e-3,
            lr_scheduler_type="constant",
            save_steps=20,
            logging_steps=10,
            report_to="wandb",
            use_cpu=not torch.cuda.is_available(),
        ),
        train_dataset=rows(tokenizer),
        data_collator=DataCollatorForSeq2Seq(tokenizer, return_tensors="pt"),
        processing_class=tokenizer,
        callbacks=[RewardMonitorCallback(monitor), StoreInRay(monitor), RayTrainReportCallback()],
    )
    prepare_trainer(trainer).train(resume_from_checkpoint=config["resume"])
    wandb.finish()  # Ray ends the worker, and rows that W&B has not written with it


if __name__ == "__main__":
    args = arguments()
    here = Path.cwd()
    ray.init(include_dashboard=False, num_cpus=2)
    result = TorchTrainer(
        work,
        train_loop_config={"here": str(here), "steps": args.steps, "resume": args.resume},
        scaling_config=ScalingConfig(num_workers=1, use_gpu=False),
        run_config=RunConfig(storage_path=str(here / "store"), name=f"until-{args.steps}"),
    ).fit()
    print(f"win probability {result.metrics['rm_monitor/win_prob']:.3f}")
