"""Pieces heads are made of: float32 layers from a checkpoint's tensors, read at the last token."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence

import torch

from rm_monitor.scorers.run.pooling import last_token
from rm_monitor.scorers.text.encodings import Encoded
from rm_monitor.types import Scale

__all__ = ["LastTokenHead", "labels_of", "linear", "numbered_layers", "perceptron"]


class LastTokenHead(torch.nn.Module):
    """A head that reads the last token of the input.

    Args:
        scale: What a difference of two rewards means.
        identity: What decides the number apart from the weights; ``reward`` says in words what it is.
        attributes: Names of further numbers it gives.
    """

    def __init__(self, *, scale: Scale, identity: Mapping[str, str], attributes: Sequence[str] = ()) -> None:
        super().__init__()
        self.scale: Scale = scale
        self.identity = {"read at": "last token", **identity}
        self.attributes = tuple(attributes)

    def positions(self, encoded: Encoded) -> tuple[int, ...]:
        """The last token."""
        return (last_token(encoded.ids),)


def linear(weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.nn.Linear:
    """A float32 linear layer with these weights, fixed."""
    layer = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, device="meta")
    layer.weight = torch.nn.Parameter(weight.detach().float(), requires_grad=False)
    if bias is not None:
        layer.bias = torch.nn.Parameter(bias.detach().float(), requires_grad=False)
    return layer


def perceptron(
    tensors: Mapping[str, torch.Tensor], prefix: str, activation: Callable[[], torch.nn.Module]
) -> torch.nn.Sequential:
    """Linear layers ``<prefix>.<i>.weight`` in the order of their numbers, the activation between them."""
    layers: list[torch.nn.Module] = []
    for name in numbered_layers(tensors, prefix):
        layers += [linear(tensors[f"{name}.weight"], tensors.get(f"{name}.bias")), activation()]
    return torch.nn.Sequential(*layers[:-1])


def labels_of(layers: torch.nn.Sequential) -> int:
    """How many numbers the last layer gives."""
    return int([layer for layer in layers if isinstance(layer, torch.nn.Linear)][-1].out_features)


def numbered_layers(names: Iterable[str], prefix: str) -> list[str]:
    """The numbered layers below a prefix, in order.

    Example:
        >>> numbered_layers(["a.10.weight", "a.2.weight", "a.2.bias", "b.1.weight"], "a")
        ['a.2', 'a.10']
    """
    pattern = re.compile(re.escape(prefix) + r"\.(\d+)\.weight")
    numbers = sorted(int(found[1]) for name in names if (found := pattern.fullmatch(name)))
    return [f"{prefix}.{number}" for number in numbers]
