"""Lightning with a monitor; `python integrations/task.py` first."""

import lightning
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import WandbLogger
from torch.utils.data import DataLoader
from transformers import AutoModelForCausalLM, AutoTokenizer, DataCollatorForSeq2Seq

from integrations.task import arguments, rows
from rm_monitor import RewardMonitor
from rm_monitor.integrations.lightning import RewardMonitorCallback


class Policy(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.policy = AutoModelForCausalLM.from_pretrained("tiny/policy", dtype=torch.float32)

    def training_step(self, batch, number):
        return self.policy(**batch).loss

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), 3e-3)


args = arguments()
tokenizer = AutoTokenizer.from_pretrained("tiny/policy")
collate = DataCollatorForSeq2Seq(tokenizer, return_tensors="pt")
monitor = RewardMonitor.from_config("monitor.yaml")
trainer = lightning.Trainer(
    max_steps=args.steps,
    max_epochs=-1,
    default_root_dir="out",
    logger=WandbLogger(project="rm_monitor", offline=True),
    callbacks=[
        RewardMonitorCallback(monitor, tokenizer),  # before those that read its numbers
        ModelCheckpoint(
            "out/checkpoints", monitor="rm_win_prob", mode="max", save_last=True, every_n_train_steps=20
        ),
    ],
)
lightning.seed_everything(0)
loader = DataLoader(rows(tokenizer), batch_size=16, shuffle=True, collate_fn=collate)
trainer.fit(Policy(), loader, ckpt_path="out/checkpoints/last.ckpt" if args.resume else None)
