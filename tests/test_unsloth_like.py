"""A policy patched as unsloth 2026.10 patches one: its `generate` turns the whole chain to inference.

Written after its source (`unsloth_fast_generate`, `for_inference`); unsloth needs a GPU and was not run.
"""

import types

import pytest
import torch
from transformers import AutoModelForCausalLM, Trainer, TrainingArguments

from rm_monitor import RewardMonitor, RewardMonitorCallback, Sampling
from rm_monitor.generators.hf import HFGenerator


def chain(model):
    """The model, what it wraps, and what that wraps."""
    while hasattr(model, "model"):
        yield model
        model = model.model
    yield model


def patch(model, tokenizer):
    """Give an instance unsloth's kind of `generate`, and what unsloth keeps on it for that."""
    plain = model.generate
    for module in chain(model):
        module._saved_temp_tokenizer = tokenizer
    calls = []

    def fast_generate(self, *args, **kwargs):
        was_training = self.training
        mode = next((m.gradient_checkpointing for m in self.modules() if _checkpoints(m)), False)
        for module in chain(self):
            module.training = False
            module._flag_for_generation = True
            module._saved_temp_tokenizer.padding_side = "left"
        for module in self.modules():
            if hasattr(module, "gradient_checkpointing"):
                module.gradient_checkpointing = False
        self.get_input_embeddings().training = False
        calls.append(kwargs)
        kwargs["cache_implementation"] = "dynamic"
        try:
            return plain(*args, **kwargs)
        finally:
            if was_training:
                for module in chain(self):
                    module.training = True
                    module._saved_temp_tokenizer.padding_side = "right"
                    del module._flag_for_generation
                for module in self.modules():
                    if hasattr(module, "gradient_checkpointing"):
                        module.gradient_checkpointing = mode

    model.generate = types.MethodType(fast_generate, model)
    return calls


def _checkpoints(module):
    return getattr(module, "gradient_checkpointing", False)


def state(model, tokenizer):
    """Everything that the patches move."""
    flags = {
        name: (m.training, getattr(m, "gradient_checkpointing", None), hasattr(m, "_flag_for_generation"))
        for name, m in model.named_modules()
    }
    return flags, model.config.use_cache, tokenizer.padding_side


@pytest.fixture
def patched(tiny_policy_dir, tiny_tokenizer):
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_pretrained(tiny_policy_dir, dtype=torch.float32)
    for module in model.modules():
        if hasattr(module, "gradient_checkpointing"):
            module.gradient_checkpointing = "unsloth"  # a word where transformers has a bool
    model.train()
    tokenizer = type(tiny_tokenizer).from_pretrained(tiny_tokenizer.name_or_path or tiny_policy_dir)
    tokenizer.padding_side = "right"
    return model, tokenizer, patch(model, tokenizer)


def monitor(folder, **more):
    return RewardMonitor(
        lambda prompts, completions: [float(len(c)) for c in completions],
        ["Hi", "What is a tide?"],
        every=2,
        output_dir=folder,
        sampling=Sampling(max_new_tokens=4),
        report_to="none",
        **more,
    )


@pytest.mark.parametrize("generator", [None, HFGenerator()], ids=["engine", "generate"])
def test_an_evaluation_leaves_the_chain_as_it_was(patched, tmp_path, generator):
    model, tokenizer, calls = patched
    before = state(model, tokenizer)
    judged = monitor(tmp_path, generator=generator)
    point = judged.evaluate(model, tokenizer, step=0)
    judged.close()
    assert point.status == "ok"
    assert state(model, tokenizer) == before
    assert calls or generator is None  # its own generate was asked


def test_training_is_as_it_would_be_without_us(tiny_policy_dir, tiny_tokenizer, tmp_path):
    def weights(folder, callbacks):
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_pretrained(tiny_policy_dir, dtype=torch.float32)
        patch(model, tiny_tokenizer)
        ids = tiny_tokenizer("one two three")["input_ids"]
        arguments = TrainingArguments(
            folder, max_steps=4, report_to=[], use_cpu=True, save_strategy="no", gradient_checkpointing=True
        )
        rows = [{"input_ids": ids, "labels": ids}] * 8
        collate = lambda batch: {k: torch.tensor([row[k] for row in batch]) for k in batch[0]}  # noqa: E731
        trainer = Trainer(
            model, arguments, train_dataset=rows, data_collator=collate, processing_class=tiny_tokenizer,
            callbacks=callbacks,
        )  # fmt: skip
        trainer.train()
        return {name: p.detach().clone() for name, p in model.named_parameters()}

    alone = weights(tmp_path / "alone", [])
    watched = weights(tmp_path / "watched", [RewardMonitorCallback(monitor(tmp_path / "watched"))])
    assert all(torch.equal(alone[name], watched[name]) for name in alone)
