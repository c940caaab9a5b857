"""Lightning Fabric with a monitor: no callback; `python integrations/task.py` first."""

from itertools import chain, repeat

import lightning
import torch
import wandb
from torch.utils.data import DataLoader
from transformers import AutoModelForCausalLM, AutoTokenizer, DataCollatorForSeq2Seq

from integrations.task import arguments, rows
from rm_monitor import RewardMonitor

args = arguments()
wandb.init(project="rm_monitor")
fabric = lightning.Fabric(devices=1)
fabric.seed_everything(0)
tokenizer = AutoTokenizer.from_pretrained("tiny/policy")
policy = AutoModelForCausalLM.from_pretrained("tiny/policy", dtype=torch.float32)
policy, optimizer = fabric.setup(policy, torch.optim.AdamW(policy.parameters(), 3e-3))
collate = DataCollatorForSeq2Seq(tokenizer, return_tensors="pt")
loader = fabric.setup_dataloaders(
    DataLoader(rows(tokenizer), batch_size=16, shuffle=True, collate_fn=collate)
)
state = {"policy": policy, "optimizer": optimizer, "step": 0}
if args.resume:
    fabric.load("out/last.ckpt", state)
monitor = RewardMonitor.from_config("monitor.yaml", output_dir="out")
for batch in chain.from_iterable(repeat(loader)):
    monitor.step(state["step"], policy, tokenizer, save=policy.module.save_pretrained)
    if state["step"] == args.steps:
        break
    fabric.backward(policy(**batch).loss)
    optimizer.step()
    optimizer.zero_grad()
    state["step"] += 1
fabric.save("out/last.ckpt", state)
monitor.close()
