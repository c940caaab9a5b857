"""INF-ORM, Qwen2.5-Math-RM, WorldPM: a two-layer perceptron on the last token, ``score.0`` and ``score.2``.

Trained by the Bradley-Terry likelihood, INF-ORM with pairs weighted by how much better the first answer is:
its differences are stretched log-odds.
"""

from __future__ import annotations

import torch

from rm_monitor.scorers.checkpoint import Checkpoint
from rm_monitor.scorers.heads.columns import Columns, choose, scale_of
from rm_monitor.scorers.heads.layers import LastTokenHead, labels_of, perceptron
from rm_monitor.scorers.options import Options
from rm_monitor.scorers.reads import CHAT, COMMON, LABELS
from rm_monitor.scorers.run.assemble import chat_encoding, decoder_scorer
from rm_monitor.scorers.run.parts import Readout
from rm_monitor.scorers.run.pointwise import PointwiseScorer
from rm_monitor.types import Scale

__all__ = ["READS", "PerceptronHead", "build"]

READS = COMMON | CHAT | LABELS


class PerceptronHead(LastTokenHead):
    """Labels from a perceptron on the last token, and the reward among them.

    Args:
        layers: ``(hidden,) -> (labels,)``.
        columns: Which labels make the reward.
        scale: What a difference of rewards means.
        activation: What stands between the layers, for people.
    """

    def __init__(
        self, layers: torch.nn.Sequential, *, columns: Columns, scale: Scale, activation: str
    ) -> None:
        sizes = [layer.in_features for layer in layers if isinstance(layer, torch.nn.Linear)]
        shape = "-".join(map(str, [*sizes, columns.count]))
        super().__init__(
            scale=scale,
            identity={"perceptron": shape, "with": activation, **columns.identity},
            attributes=columns.attributes,
        )
        self.layers = layers
        self.columns = columns

    def forward(self, read: torch.Tensor) -> Readout:
        """Rewards of ``(b, 1, hidden)``."""
        return Readout(*self.columns(self.layers(read[:, 0])))


def build(checkpoint: Checkpoint, options: Options) -> PointwiseScorer:
    """A scorer of this family."""
    tensors = checkpoint.read_starting("score.0.", "score.2.")
    layers = perceptron(tensors, "score", torch.nn.ReLU)
    columns = choose(checkpoint, options, labels_of(layers))
    head = PerceptronHead(layers, columns=columns, scale=scale_of(columns, options), activation="ReLU")
    encoding = chat_encoding(checkpoint, options)
    return decoder_scorer(checkpoint, options, kind="inform", encoding=encoding, head=head)
