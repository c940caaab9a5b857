"""Modules whose modes, buffers and attributes move."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from tests.faults.animals.base import ZOO, animal, policy, wrapped


class Moved(nn.Module):
    """Counts what passes, in a buffer or an attribute, and reads the count."""

    def __init__(self, inner: nn.Module, kind: str) -> None:
        super().__init__()
        self.inner, self.kind, self.calls = inner, kind, 0
        self.seen: list[float] = []
        self.sums = {"n": 0.0}
        self.free = torch.zeros(1)
        if kind in ("saved", "unsaved", "replaced"):
            self.register_buffer("load", torch.zeros(4), persistent=kind != "unsaved")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            passed = float(x.shape[0] * x.shape[1])
            if self.kind in ("saved", "unsaved"):
                self.load += passed
            elif self.kind == "replaced":
                self.load = self.load + passed
            elif self.kind == "attribute":
                self.calls += 1
            elif self.kind == "list":
                self.seen.append(passed)
            elif self.kind == "dict":
                self.sums["n"] += passed
            elif self.kind == "tensor":
                self.free += passed
            elif self.kind == "new" and not self.training:
                self.left_behind = True
        at = float(getattr(self, "load", torch.zeros(1))[0]) + self.calls + len(self.seen) + self.sums["n"]
        at += float(self.free) + 50 * hasattr(self, "left_behind")
        return self.inner(x) * (1 + 1e-3 * (at % 97))


def _moved(kind: str) -> Callable[[], dict[str, Any]]:
    return lambda: {"model": wrapped(lambda inner: Moved(inner, kind))}


for _kind in ("saved", "unsaved", "replaced", "attribute", "list", "dict", "tensor", "new"):
    ZOO[f"forward_moves_{_kind}"] = _moved(_kind)


class Merges(nn.Module):
    """An adapter that is merged into the weights on ``eval()``, as loralib's is."""

    def __init__(self, linear: Any) -> None:
        super().__init__()
        self.weight = linear.weight
        self.a = nn.Parameter(torch.randn(2, linear.in_features) * 0.2)
        self.b = nn.Parameter(torch.randn(linear.out_features, 2) * 0.2)
        self.merged = False

    def train(self, mode: bool = True) -> Any:
        super().train(mode)
        with torch.no_grad():
            if mode and self.merged:
                self.weight.data -= self.b @ self.a
            if not mode and not self.merged:
                self.weight.data += self.b @ self.a
        self.merged = not mode
        return self

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = nn.functional.linear(x, self.weight)
        return y if self.merged else y + (x @ self.a.T) @ self.b.T


@animal
def merges_on_eval() -> dict[str, Any]:
    model = policy()
    for layer in model.model.layers:
        layer.mlp.up_proj = Merges(layer.mlp.up_proj)
    return {"model": model, "facts": lambda t: [m.merged for m in t.model.modules() if isinstance(m, Merges)]}


class Frozen(nn.Module):
    """Stays in eval mode, whatever is asked for."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner, self.drop, self.asked = inner, nn.Dropout(0.2), 0

    def train(self, mode: bool = True) -> Any:
        self.asked += 1
        super().train(mode)
        self.drop.train(False)
        return self

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(self.drop(x)) * (1 + 1e-3 * self.asked)


@animal
def part_that_refuses_train_mode() -> dict[str, Any]:
    return {"model": wrapped(Frozen)}


@animal
def old_weight_norm() -> dict[str, Any]:
    model = policy()
    for layer in model.model.layers:
        nn.utils.weight_norm(layer.mlp.up_proj)
    return {"model": model}


@animal
def parametrized_spectral_norm() -> dict[str, Any]:
    model = policy()
    for layer in model.model.layers:
        nn.utils.parametrizations.spectral_norm(layer.mlp.up_proj)
    return {"model": model}


class Normed(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner, self.norm = inner, nn.BatchNorm1d(32)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.inner(x)
        return y + 0.1 * self.norm(y.reshape(-1, y.shape[-1])).reshape(y.shape)


@animal
def batch_norm() -> dict[str, Any]:
    return {"model": wrapped(Normed)}
