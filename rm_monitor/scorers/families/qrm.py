"""QRM (arXiv 2409.10164): ArmoRM with a distribution for each rating, given by quantiles.

The reward is ArmoRM's on the means over quantiles; the spread of the gated distribution is logged beside it.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from rm_monitor.scorers.checkpoint import Checkpoint
from rm_monitor.scorers.families.armorm import MATRIX, GatedHead, gating_of
from rm_monitor.scorers.heads.gate import gate_pattern
from rm_monitor.scorers.heads.layers import linear, numbered_layers
from rm_monitor.scorers.options import Options
from rm_monitor.scorers.reads import CHAT, COMMON
from rm_monitor.scorers.run.assemble import chat_encoding, decoder_scorer
from rm_monitor.scorers.run.parts import Readout
from rm_monitor.scorers.run.pointwise import PointwiseScorer

SPREAD = "interquartile_range"

__all__ = ["READS", "QuantileHead", "build", "gate_with_batch_norm"]

READS = COMMON | CHAT


class QuantileHead(GatedHead):
    """A gated head whose ratings are ``(objectives, quantiles)``."""

    @property
    def attributes(self) -> tuple[str, ...]:
        """The ratings' means, and the spread of their gated distribution."""
        return (*self.names, SPREAD)

    def forward(self, read: torch.Tensor) -> Readout:
        """Rewards of ``(b, 2, hidden)``, the transformed mean ratings, and the spread."""
        objectives = len(self.transform)
        quantiles = self.ratings(read[:, 0]).reshape(len(read), objectives, -1)
        transformed = torch.einsum("boq,op->bpq", quantiles, self.transform)
        weights = self.weights(read)
        means = transformed.mean(-1)
        gated = torch.einsum("bo,boq->bq", weights, transformed)
        attributes = {name: means[:, i] for i, name in enumerate(self.names)}
        attributes[SPREAD] = _between(gated, 0.75) - _between(gated, 0.25)
        return Readout((weights * means).sum(-1), attributes)


def build(checkpoint: Checkpoint, options: Options) -> PointwiseScorer:
    """A scorer of this family."""
    tensors = checkpoint.read_starting("gating.layers.", "regression_layer.", MATRIX, optional=("gating.",))
    encoding = chat_encoding(checkpoint, options)
    head = QuantileHead(
        linear(tensors["regression_layer.weight"]),
        gate_with_batch_norm(tensors, "gating.layers"),
        tensors[MATRIX],
        **gating_of(checkpoint, tensors),
        pattern=gate_pattern(encoding, checkpoint.name),
        options=options,
    )
    return decoder_scorer(checkpoint, options, kind="qrm", encoding=encoding, head=head)


def gate_with_batch_norm(tensors: Mapping[str, torch.Tensor], prefix: str) -> torch.nn.Sequential:
    """Linear, ReLU, batch norm, over and over, then linear; batch norm by its stored statistics."""
    layers: list[torch.nn.Module] = []
    for name in numbered_layers(tensors, prefix):
        weight, bias = tensors[f"{name}.weight"], tensors.get(f"{name}.bias")
        if weight.ndim == 2:
            layers.append(linear(weight, bias))
            continue
        norm = torch.nn.BatchNorm1d(len(weight))
        state = {k: tensors[f"{name}.{k}"].float() for k in ("weight", "bias", "running_mean", "running_var")}
        norm.load_state_dict({**state, "num_batches_tracked": torch.tensor(0)})
        layers += [torch.nn.ReLU(), norm.requires_grad_(False)]
    return torch.nn.Sequential(*layers)


def _between(values: torch.Tensor, level: float) -> torch.Tensor:
    """The quantile at a level, of ``(b, q)`` quantiles at the levels 1/(q+1), ..., q/(q+1)."""
    count = values.shape[-1]
    place = min(max(level * (count + 1) - 1, 0.0), count - 1.0)
    low = int(place)
    high = min(low + 1, count - 1)
    return values[:, low] + (place - low) * (values[:, high] - values[:, low])
