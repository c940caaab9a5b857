"""Tiny models, made in seconds from random weights: for tests and examples without downloads."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    LlamaForSequenceClassification,
    PreTrainedTokenizerFast,
)

from rm_monitor.testing.counting import WORDS, examples

__all__ = ["TinyRun", "make_policy", "make_tokenizer", "tiny_run"]

TEMPLATE = (
    "{% for m in messages %}<{{ m['role'] }}> {{ m['content'] }} <end> {% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


def make_tokenizer() -> Any:
    """One token a word, with a chat template."""
    words = ["<pad>", "<end>", "<user>", "<assistant>", "<unk>", "count", "from", "to", *WORDS]
    core = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token="<pad>",
        eos_token="<end>",
        unk_token="<unk>",
        additional_special_tokens=["<user>", "<assistant>"],
        model_max_length=64,
    )
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def tiny_config(tokenizer: Any, **more: Any) -> LlamaConfig:
    return LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=64,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
        **more,
    )


def make_policy(tokenizer: Any, seed: int) -> Any:
    """An untrained policy."""
    torch.manual_seed(seed)
    return LlamaForCausalLM(tiny_config(tokenizer))


@dataclass(frozen=True, slots=True)
class TinyRun:
    """Paths of everything a training run needs, in the shapes real ones have."""

    policy: str
    reward_model: str
    prompts: str
    training: str


def tiny_run(folder: str | Path, *, seed: int = 0, prompts: int = 64) -> TinyRun:
    """Write an untrained policy and reward model, prompts with references, and data to fine-tune on.

    The reward model is random: curves made with it show how things work, not what is better.
    """
    folder = Path(folder)
    tokenizer = make_tokenizer()
    policy = make_policy(tokenizer, seed)
    torch.manual_seed(seed + 1)
    reward_model = LlamaForSequenceClassification(tiny_config(tokenizer, num_labels=1))
    with torch.no_grad():
        for weight in reward_model.parameters():
            if weight.ndim == 2:
                weight.mul_(4.0)  # unscaled random nets give every text the same score
    for name, model in (("policy", policy), ("reward-model", reward_model)):
        model.save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)
    data = examples(seed)
    held_out = [{"prompt": e.prompt, "reference": e.reference} for e in data[:prompts]]
    training = [{"prompt": e.prompt, "completion": e.answer} for e in data[prompts:]]
    for name, rows in (("prompts.jsonl", held_out), ("sft.jsonl", training)):
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / name).write_text(text, encoding="utf-8")
    return TinyRun(
        policy=str(folder / "policy"),
        reward_model=str(folder / "reward-model"),
        prompts=str(folder / "prompts.jsonl"),
        training=str(folder / "sft.jsonl"),
    )
