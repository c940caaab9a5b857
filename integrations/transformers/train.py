"""A plain Trainer with a monitor; `python integrations/task.py` first."""

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    DataCollatorForSeq2Seq,
    Trainer,
    TrainingArguments,
)

from integrations.task import arguments, rows
from rm_monitor import RewardMonitor, RewardMonitorCallback

args = arguments()
tokenizer = AutoTokenizer.from_pretrained("tiny/policy")
monitor = RewardMonitor.from_config("monitor.yaml")
trainer = Trainer(
    model=AutoModelForCausalLM.from_pretrained("tiny/policy", dtype=torch.float32),
    args=TrainingArguments(
        output_dir="out",
        max_steps=args.steps,
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
    callbacks=[RewardMonitorCallback(monitor)],
)
trainer.train(resume_from_checkpoint=args.resume)
