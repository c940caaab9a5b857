"""Lightning: curve, alarm, its ModelCheckpoint and EarlyStopping, resume, accumulation; and Fabric."""

import json
from pathlib import Path

import lightning
import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from torch.utils.data import DataLoader
from transformers import AutoModelForCausalLM, AutoTokenizer, DataCollatorForSeq2Seq

from rm_monitor import RewardMonitor
from rm_monitor.integrations.lightning import RewardMonitorCallback


class Policy(lightning.LightningModule):
    def __init__(self, blow_up_at=None):
        super().__init__()
        torch.manual_seed(0)
        self.policy = AutoModelForCausalLM.from_pretrained("tiny/policy", dtype=torch.float32)
        self.blow_up_at = blow_up_at

    def training_step(self, batch, number):
        return self.policy(**batch).loss

    def on_before_optimizer_step(self, optimizer):
        if self.blow_up_at is not None and self.global_step >= self.blow_up_at:
            for group in optimizer.param_groups:
                group["lr"] = 0.3

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), 3e-3)


def rows(tokenizer):
    for line in Path("data/chat.jsonl").read_text().splitlines():
        ids = tokenizer.apply_chat_template(json.loads(line)["messages"], tokenize=True, return_dict=False)
        yield {"input_ids": ids, "labels": ids}


def gold(prompts, completions):
    """Share of the right words at their place: a reward that is worth something."""
    from rm_monitor.testing.counting import examples

    answers = {e.prompt: e.answer.split() for e in examples(0)}
    return [
        4 * sum(a == b for a, b in zip(answers[p], c.split(), strict=False)) / max(len(answers[p]), 1)
        for p, c in zip(prompts, completions, strict=True)
    ]


def fit(given, out, *callbacks, steps=30, blow_up_at=None, ckpt=None, every=10, **trainer):
    tokenizer = AutoTokenizer.from_pretrained("tiny/policy")
    judge = {} if blow_up_at is None else {"reward_model": gold}
    monitor = RewardMonitor.from_config({**given.settings, "output_dir": out, "every": every}, **judge)
    loader = DataLoader(
        list(rows(tokenizer)), batch_size=8, collate_fn=DataCollatorForSeq2Seq(tokenizer, return_tensors="pt")
    )
    run = lightning.Trainer(
        max_steps=steps,
        max_epochs=-1,
        callbacks=[RewardMonitorCallback(monitor, tokenizer), *callbacks],
        accelerator="cpu",
        logger=CSVLogger(out, "csv"),
        enable_checkpointing=any(isinstance(c, ModelCheckpoint) for c in callbacks),
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=5,
        **trainer,
    )
    run.fit(Policy(blow_up_at), loader, ckpt_path=ckpt)
    return run, monitor


def test_lightnings_own_checkpoint_picks_by_our_number_and_every_logger_has_it(given):
    keep = ModelCheckpoint(
        dirpath="ck", monitor="rm_win_prob", mode="max", every_n_train_steps=10, save_on_train_epoch_end=False
    )
    run, _ = fit(given, "out", keep)
    curve = given.curve("out")
    assert list(curve) == [0, 10, 20, 30]
    saved = max((step for step in curve if step), key=curve.get)
    assert f"step={saved}" in keep.best_model_path
    assert float(keep.best_model_score) == pytest.approx(curve[saved])
    logged = Path(run.logger.log_dir, "metrics.csv").read_text()
    assert "rm_monitor/win_prob_low" in logged.splitlines()[0]
    assert given.best("out") is not None


def test_a_blow_up_is_an_alarm_and_the_best_is_from_before(given):
    _, monitor = fit(given, "out", steps=160, blow_up_at=80, every=20)
    assert monitor.verdict.state == "degraded"
    assert 0 < monitor.best.step <= 80
    assert given.best("out") is not None


def test_accumulation_counts_optimizer_steps_and_a_resumed_run_goes_on(given):
    keep = ModelCheckpoint(dirpath="ck", every_n_train_steps=10, save_top_k=-1, save_on_train_epoch_end=False)
    fit(given, "out", keep, steps=10, accumulate_grad_batches=2)
    assert list(given.curve("out")) == [0, 10]
    (where,) = Path("ck").glob("*step=10.ckpt")
    fit(given, "out", steps=20, ckpt=str(where), accumulate_grad_batches=2)
    assert list(given.curve("out")) == [0, 10, 20]


def test_early_stopping_reads_our_number(given):
    stop = EarlyStopping(
        monitor="rm_win_prob", mode="max", patience=0, min_delta=1.0, check_on_train_epoch_end=True
    )
    run, _ = fit(given, "out", stop, steps=400)
    assert run.global_step < 400


def test_a_module_without_one_policy_is_refused_before_training(given):
    class Two(Policy):
        def __init__(self):
            super().__init__()
            self.other = AutoModelForCausalLM.from_pretrained("tiny/policy")

    tokenizer = AutoTokenizer.from_pretrained("tiny/policy")
    monitor = RewardMonitor.from_config({**given.settings, "output_dir": "out"})
    run = lightning.Trainer(
        max_steps=1, callbacks=[RewardMonitorCallback(monitor, tokenizer)], accelerator="cpu", logger=False
    )
    with pytest.raises(ValueError, match=r"Two has 2 children that can generate .*pass `model`"):
        run.fit(Two(), DataLoader([{}]))


def test_fabric_needs_no_callback(given):
    fabric = lightning.Fabric(accelerator="cpu", devices=1)
    tokenizer = AutoTokenizer.from_pretrained("tiny/policy")
    policy = AutoModelForCausalLM.from_pretrained("tiny/policy", dtype=torch.float32)
    policy, optimizer = fabric.setup(policy, torch.optim.AdamW(policy.parameters(), 3e-3))
    collate = DataCollatorForSeq2Seq(tokenizer, return_tensors="pt")
    loader = fabric.setup_dataloaders(DataLoader(list(rows(tokenizer)), batch_size=8, collate_fn=collate))
    monitor = RewardMonitor.from_config({**given.settings, "output_dir": "out"})
    for step, batch in enumerate(loader):
        monitor.step(step, policy, tokenizer, save=policy.module.save_pretrained)
        if step == 20:
            break
        fabric.backward(policy(**batch).loss)
        optimizer.step()
        optimizer.zero_grad()
    monitor.close()
    assert list(given.curve("out")) == [0, 10, 20]
