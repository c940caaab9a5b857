"""INF-ORM, Qwen2.5-Math-RM, WorldPM: a two-layer perceptron on the last token, ``score.0`` and ``score.2``.

Trained by the Bradley-Terry likelihood, INF-ORM with pairs weighted by how much better the first answer is:
its differences are stretched log-odds.
"""

from __future__ import annotations

import torch

from rm_monitor.scorers.checkpoint import Checkpoint
from rm_monitor.scorers.heads.layers import LastTokenHead, perceptron
from rm_monitor.scorers.options import Options
from rm_monitor.scorers.run.assemble import chat_encoding, decoder_scorer
from rm_monitor.scorers.run.parts import Readout
from rm_monitor.scorers.run.pointwise import PointwiseScorer

__all__ = ["PerceptronHead", "build"]


class PerceptronHead(LastTokenHead):
    """One number from a perceptron on the last token."""

    def __init__(self, layers: torch.nn.Sequential, options: Options, activation: str) -> None:
        shape = "-".join(str(layer.in_features) for layer in layers if isinstance(layer, torch.nn.Linear))
        super().__init__(
            scale=options.scale or "logit",
            identity={"reward": "its single number", "perceptron": f"{shape}-1", "with": activation},
        )
        self.layers = layers

    def forward(self, read: torch.Tensor) -> Readout:
        """Rewards of ``(b, 1, hidden)``."""
        return Readout(self.layers(read[:, 0])[:, 0])


def build(checkpoint: Checkpoint, options: Options) -> PointwiseScorer:
    """A scorer of this family."""
    tensors = checkpoint.read_starting("score.0.", "score.2.")
    head = PerceptronHead(perceptron(tensors, "score", torch.nn.ReLU), options, "ReLU")
    encoding = chat_encoding(checkpoint, options)
    return decoder_scorer(checkpoint, options, kind="inform", encoding=encoding, head=head)
