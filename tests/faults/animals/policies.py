"""Policies: patched `generate`, tied, frozen, adapted, compiled, in other precisions."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch

from tests.faults.animals.base import animal, policy


@animal
def generate_that_switches_all_modules_when_done() -> dict[str, Any]:
    """As unsloth's does: an attribute that only the class had is on each layer afterwards."""
    model = policy()
    plain = model.generate

    def generate(*args: Any, **kwargs: Any) -> Any:
        try:
            return plain(*args, **kwargs)
        finally:
            for part in model.modules():
                part.gradient_checkpointing = True
            model.training_was_left = True

    model.generate = generate
    return {"model": model}


@animal
def generate_that_changes_settings() -> dict[str, Any]:
    model = policy()
    plain = model.generate

    def generate(*args: Any, **kwargs: Any) -> Any:
        model.config.use_cache = not model.config.use_cache
        model.generation_config.temperature = 0.5
        model.requires_grad_(False)
        model.train()
        out = plain(*args, **kwargs)
        torch.manual_seed(0), random.seed(0), np.random.seed(0)
        return out

    model.generate = generate
    return {
        "model": model,
        "facts": lambda t: (t.model.config.use_cache, t.model.generation_config.to_dict()),
    }


@animal
def tied_embeddings() -> dict[str, Any]:
    model = policy()
    model.config.tie_word_embeddings = True
    model.lm_head.weight = model.model.embed_tokens.weight
    return {"model": model, "engine": True}


@animal
def half_frozen() -> dict[str, Any]:
    model = policy()
    model.model.layers[0].requires_grad_(False)
    model.model.layers[0].eval()
    return {"model": model}


@animal
def lora() -> dict[str, Any]:
    from peft import LoraConfig, get_peft_model

    made = get_peft_model(policy(), LoraConfig(r=2, lora_dropout=0.2, target_modules=["q_proj", "up_proj"]))
    return {"model": made, "engine": True}


@animal
def gradient_checkpointing() -> dict[str, Any]:
    return {"arguments": {"gradient_checkpointing": True}, "engine": True}


@animal
def bf16_autocast() -> dict[str, Any]:
    return {"arguments": {"bf16": True}, "engine": True}


@animal
def compiled() -> dict[str, Any]:
    return {"arguments": {"torch_compile": True, "torch_compile_backend": "eager"}}


@animal
def neftune() -> dict[str, Any]:
    return {"arguments": {"neftune_noise_alpha": 5.0}}
