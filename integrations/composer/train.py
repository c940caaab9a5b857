"""Composer with a monitor; `python integrations/task.py` first."""

import torch
from composer import Trainer
from composer.loggers import WandBLogger
from composer.models import HuggingFaceModel
from torch.utils.data import DataLoader
from transformers import AutoModelForCausalLM, AutoTokenizer, DataCollatorForSeq2Seq

from integrations.task import arguments, rows
from rm_monitor import RewardMonitor
from rm_monitor.integrations.composer import RewardMonitorCallback

args = arguments()
torch.manual_seed(0)
tokenizer = AutoTokenizer.from_pretrained("tiny/policy")
policy = AutoModelForCausalLM.from_pretrained("tiny/policy", dtype=torch.float32)
collate = DataCollatorForSeq2Seq(tokenizer, return_tensors="pt")
monitor = RewardMonitor.from_config("monitor.yaml", output_dir="out")
trainer = Trainer(
    model=HuggingFaceModel(policy, tokenizer=tokenizer, use_logits=True),
    train_dataloader=DataLoader(rows(tokenizer), batch_size=16, shuffle=True, collate_fn=collate),
    optimizers=torch.optim.AdamW(policy.parameters(), 3e-3),
    max_duration=f"{args.steps}ba",
    device="gpu" if torch.cuda.is_available() else "cpu",
    loggers=[WandBLogger(project="rm_monitor")],
    callbacks=[RewardMonitorCallback(monitor)],
    save_folder="out/composer",
    save_interval="20ba",
    load_path="out/composer/latest-rank0.pt" if args.resume else None,
    progress_bar=False,
)
trainer.fit()
trainer.close()
