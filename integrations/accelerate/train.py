"""A loop with accelerate and its trackers; `python integrations/task.py` first."""

from itertools import chain, repeat
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from torch.utils.data import DataLoader
from transformers import AutoModelForCausalLM, AutoTokenizer, DataCollatorForSeq2Seq

from integrations.task import arguments, rows
from rm_monitor import RewardMonitor
from rm_monitor.integrations.accelerate import AcceleratorSink

args = arguments()
set_seed(0)
accelerator = Accelerator(cpu=not torch.cuda.is_available(), log_with="wandb")
accelerator.init_trackers("rm_monitor")
tokenizer = AutoTokenizer.from_pretrained("tiny/policy")
model = AutoModelForCausalLM.from_pretrained("tiny/policy", dtype=torch.float32)
collate = DataCollatorForSeq2Seq(tokenizer, return_tensors="pt")
model, optimizer, loader = accelerator.prepare(
    model,
    torch.optim.AdamW(model.parameters(), 3e-3),
    DataLoader(rows(tokenizer), batch_size=16, shuffle=True, collate_fn=collate),
)
step = 0
if args.resume:
    accelerator.load_state("out/last")
    step = int(Path("out/step").read_text())
sinks = [AcceleratorSink(accelerator)]
monitor = RewardMonitor.from_config("monitor.yaml", output_dir="out", report_to=sinks)
for batch in chain.from_iterable(repeat(loader)):
    monitor.step(step, model, tokenizer, save=accelerator.unwrap_model(model).save_pretrained)
    if step == args.steps:
        break
    loss = model(**batch).loss
    accelerator.backward(loss)
    optimizer.step()
    optimizer.zero_grad()
    step += 1
    accelerator.log({"loss": float(loss)}, step=step)
accelerator.save_state("out/last")
Path("out/step").write_text(str(step))
monitor.close()
accelerator.end_training()
