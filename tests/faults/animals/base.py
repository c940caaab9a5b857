"""What animals are made of: a tiny policy, rows, and the list of them all."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from tests.conftest import build_policy, build_tokenizer

STEPS = 4
TOKENIZER = build_tokenizer()
VOCABULARY = 200
ZOO: dict[str, Callable[[], dict[str, Any]]] = {}


def animal(make: Callable[[], dict[str, Any]]) -> Callable[[], dict[str, Any]]:
    """Put one into the zoo."""
    ZOO[make.__name__] = make
    return make


def rows(n: int = 32, length: int = 8) -> list[dict[str, Any]]:
    """The same random rows each time."""
    ids = torch.randint(5, VOCABULARY, (n, length), generator=torch.Generator().manual_seed(0))
    return [{"input_ids": row, "labels": row} for row in ids]


def policy(**settings: Any) -> Any:
    """A fresh tiny Llama."""
    model = build_policy(TOKENIZER)
    for name, value in settings.items():
        setattr(model.config, name, value)
    return model


def wrapped(make: Callable[[Any], nn.Module]) -> Any:
    """A policy whose layers' multilayer perceptrons are wrapped."""
    model = policy()
    for layer in model.model.layers:
        layer.mlp = make(layer.mlp)
    return model


def digest(tensors: Any) -> str:
    """Of the bytes of tensors, in order."""
    found = hashlib.sha256()
    for t in tensors:
        found.update(t.detach().contiguous().cpu().flatten().view(torch.uint8).numpy().tobytes())
    return found.hexdigest()[:12]
