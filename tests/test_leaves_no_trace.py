"""Promise 1: weights, optimizer and every RNG are bit-identical with and without the monitor."""

import random

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from rm_monitor import RewardMonitor, RewardMonitorCallback, Sampling
from tests.helpers import Breaks, tiny_trainer

PROMPTS = ["What is a tide?", "Name a colour.", "Say hello to a friend of yours."]


def policy(folder, kind):
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_pretrained(folder)
    if kind == "lora":
        from peft import LoraConfig, get_peft_model

        model = get_peft_model(model, LoraConfig(r=4, lora_dropout=0.2, target_modules=["q_proj", "v_proj"]))
    return model


def train(tmp_path, folder, tokenizer, kind, monitor, **arguments):
    random.seed(0)
    np.random.seed(0)
    trainer = tiny_trainer(
        policy(folder, kind),
        tokenizer,
        tmp_path,
        steps=4,
        callbacks=[RewardMonitorCallback(monitor, select_best=False)] if monitor else [],
        **arguments,
    )
    trainer.train()
    state = {name: p.detach().clone() for name, p in trainer.model.named_parameters()}
    moments = [v for s in trainer.optimizer.state.values() for v in s.values() if torch.is_tensor(v)]
    generators = [
        torch.get_rng_state(),
        torch.tensor(random.getstate()[1]),
        torch.tensor(np.random.get_state()[1].astype(np.int64)),
    ]
    return state, moments, generators


def same(a, b):
    return all(
        [
            a[0].keys() == b[0].keys(),
            all(a[0][name].equal(b[0][name]) for name in a[0]),
            len(a[1]) == len(b[1]),
            all(x.equal(y) for x, y in zip(a[1], b[1], strict=True)),
            all(x.equal(y) for x, y in zip(a[2], b[2], strict=True)),
        ]
    )


CONFIGURATIONS = {
    "plain": ("plain", {}),
    "gradient checkpointing": ("plain", {"gradient_checkpointing": True}),
    "lora": ("lora", {}),
    "accumulation": ("plain", {"gradient_accumulation_steps": 2}),
    "bf16": ("plain", {"bf16": True}),
    "neftune": ("plain", {"neftune_noise_alpha": 5.0}),
}


def spoils_every_generator(prompts, completions):
    torch.rand(3), random.random(), np.random.rand(3)
    return [float(len(c)) for c in completions]


@pytest.mark.parametrize("configuration", CONFIGURATIONS)
@pytest.mark.parametrize("fate", ["fine", "scorer raises"])
def test_training_is_bit_identical_with_and_without_the_monitor(
    tmp_path, tiny_policy_dir, tiny_tokenizer, configuration, fate
):
    kind, arguments = CONFIGURATIONS[configuration]
    scorer = spoils_every_generator
    if fate == "scorer raises":
        scorer = Breaks()
        scorer.broken = True
    monitor = RewardMonitor(
        scorer,
        PROMPTS,
        every=1,
        sampling=Sampling(max_new_tokens=4),
        report_to="none",
        output_dir=tmp_path / "ours",
        on_error="warn" if fate == "fine" else "start-anyway",
    )
    without = train(tmp_path / "a", tiny_policy_dir, tiny_tokenizer, kind, None, **arguments)
    with_it = train(tmp_path / "b", tiny_policy_dir, tiny_tokenizer, kind, monitor, **arguments)
    assert [p.status for p in monitor.curve] == ["ok" if fate == "fine" else "failed"] * 5
    assert same(without, with_it)


def test_the_comparison_would_notice_one_drawn_number(tmp_path, tiny_policy_dir, tiny_tokenizer):
    from transformers import TrainerCallback

    class Draws(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            torch.rand(1)

    trainer = tiny_trainer(
        policy(tiny_policy_dir, "plain"), tiny_tokenizer, tmp_path / "b", steps=4, callbacks=[Draws()]
    )
    without = train(tmp_path / "a", tiny_policy_dir, tiny_tokenizer, "plain", None)
    random.seed(0)
    np.random.seed(0)
    trainer.train()
    weights = {name: p.detach().clone() for name, p in trainer.model.named_parameters()}
    assert not all(without[0][name].equal(weights[name]) for name in weights)
