"""Train the demo's policy with the real Trainer and the real callback, first well, then badly."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import DataCollatorForSeq2Seq, Trainer, TrainerCallback, TrainingArguments

from rm_monitor import Alarm, RewardMonitor, RewardMonitorCallback, Sampling
from rm_monitor.demo.reward_model import chat_ids, train_reward_model
from rm_monitor.testing.counting import Example, examples
from rm_monitor.testing.tiny import make_policy, make_tokenizer

__all__ = ["Outcome", "run"]

STEPS, EVERY, BLOW_UP = 300, 20, 200
PROMPTS = 96
LEARNING_RATE, BLOWN_UP = 3e-3, 40.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the demo found.

    Attributes:
        monitor: The closed monitor, with its curve.
        flagged: First step at which the run was called degraded; None if it never was.
        accuracy: Share of fresh pairs the toy reward model ranks rightly.
        seconds: Wall time.
    """

    monitor: RewardMonitor
    flagged: int | None
    accuracy: float
    seconds: float


def run(output_dir: Path, *, seed: int = 0) -> Outcome:
    """Make the models, train, and watch."""
    began = time.monotonic()
    torch.set_num_threads(1)
    os.environ.setdefault("WANDB_MODE", "offline")
    os.environ.setdefault("WANDB_SILENT", "true")
    os.environ["WANDB_DIR"] = str(output_dir)
    output_dir.mkdir(parents=True, exist_ok=True)
    data = examples(seed)
    held_out, training = data[:PROMPTS], data[PROMPTS:]
    tokenizer = make_tokenizer()
    reward_model, accuracy = train_reward_model(tokenizer, training, seed)
    reward_folder = output_dir / "reward-model"
    reward_model.save_pretrained(reward_folder)
    tokenizer.save_pretrained(reward_folder)

    monitor = RewardMonitor(
        reward_model=str(reward_folder),
        prompts=[{"prompt": e.prompt, "reference": e.reference} for e in held_out],
        references="reference",
        every=EVERY,
        sampling=Sampling(max_new_tokens=16),
        seed=seed,
        alarm=Alarm(tolerance="jitter"),  # so small a policy truly goes up and down by several points
    )
    flags = _Flags(monitor)
    trainer = _trainer(output_dir, tokenizer, training, seed)
    # Answers here are number words, so all of them share runs of 13: that is no contamination.
    trainer.add_callback(RewardMonitorCallback(monitor, examine=False))
    trainer.add_callback(flags)
    trainer.train()
    return Outcome(monitor, flags.first, accuracy, time.monotonic() - began)


def _trainer(output_dir: Path, tokenizer: Any, training: list[Example], seed: int) -> Trainer:
    """A plain Trainer whose learning rate blows up two thirds of the way."""
    policy = make_policy(tokenizer, seed)
    optimizer = torch.optim.AdamW(policy.parameters(), lr=LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1.0, (step + 1) / 10) if step < BLOW_UP else BLOWN_UP
    )
    arguments = TrainingArguments(
        output_dir=str(output_dir),
        max_steps=STEPS,
        per_device_train_batch_size=32,
        save_steps=EVERY,
        save_total_limit=2,
        logging_steps=EVERY,
        report_to=["wandb"],
        run_name="rm-monitor-demo",
        use_cpu=True,
        seed=seed,
        disable_tqdm=True,
    )
    rows = []
    for example in training:
        ids = chat_ids(tokenizer, example.prompt, example.answer)
        answer_starts = len(ids) - len(example.answer.split()) - 1
        rows.append({"input_ids": ids, "labels": [-100] * answer_starts + ids[answer_starts:]})
    return Trainer(
        model=policy,
        args=arguments,
        train_dataset=rows,
        data_collator=DataCollatorForSeq2Seq(tokenizer, return_tensors="pt"),
        processing_class=tokenizer,
        optimizers=(optimizer, schedule),
    )


class _Flags(TrainerCallback):
    """Remembers the first step at which the run was called degraded."""

    def __init__(self, monitor: RewardMonitor) -> None:
        self.monitor = monitor
        self.first: int | None = None

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._look()

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._look()

    def _look(self) -> None:
        if self.first is None and self.monitor.verdict.state == "degraded":
            self.first = self.monitor.verdict.step
