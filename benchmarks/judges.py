"""The reward model that benchmarks share: random, and the same for us and for what we are compared with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForSequenceClassification, LlamaConfig, LlamaForSequenceClassification


def random_judge(folder: Path, tokenizer: Any, *, small: bool) -> Any:
    """A random Bradley-Terry reward model of 15.7 M parameters, saved for us and loaded for the peer."""
    torch.manual_seed(1)
    model = LlamaForSequenceClassification(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=64 if small else 384,
            intermediate_size=128 if small else 1024,
            num_hidden_layers=2 if small else 6,
            num_attention_heads=4 if small else 6,
            num_key_value_heads=2,
            max_position_embeddings=2048,
            num_labels=1,
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id,
            bos_token_id=None,
        )
    )
    with torch.no_grad():
        for p in model.parameters():
            if p.ndim == 2:
                p.mul_(2.0)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return AutoModelForSequenceClassification.from_pretrained(folder).eval()
