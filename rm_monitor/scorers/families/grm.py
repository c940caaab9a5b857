"""GRM ``*-sftreg`` (arXiv 2406.10216): a value head on the last token, linear or a perceptron."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from rm_monitor.scorers.checkpoint import Checkpoint
from rm_monitor.scorers.families.inform import PerceptronHead
from rm_monitor.scorers.heads.columns import choose, scale_of
from rm_monitor.scorers.heads.layers import labels_of, linear, perceptron
from rm_monitor.scorers.options import Options
from rm_monitor.scorers.reads import CHAT, COMMON, LABELS
from rm_monitor.scorers.run.assemble import chat_encoding, decoder_scorer
from rm_monitor.scorers.run.pointwise import PointwiseScorer

__all__ = ["READS", "build", "value_head"]

READS = COMMON | CHAT | LABELS


def build(checkpoint: Checkpoint, options: Options) -> PointwiseScorer:
    """A scorer of this family; whether its head is linear or a perceptron is told by its tensors."""
    tensors = checkpoint.read_starting("v_head.summary")
    head = value_head(checkpoint, options, tensors)
    encoding = chat_encoding(checkpoint, options)
    return decoder_scorer(checkpoint, options, kind="grm", encoding=encoding, head=head)


def value_head(
    checkpoint: Checkpoint, options: Options, tensors: Mapping[str, torch.Tensor]
) -> PerceptronHead:
    """The head of ``v_head.summary*`` tensors."""
    if "v_head.summary.weight" in tensors:
        weight, bias = tensors["v_head.summary.weight"], tensors.get("v_head.summary.bias")
        layers, activation = torch.nn.Sequential(linear(weight, bias)), "nothing"
    else:
        layers, activation = perceptron(tensors, "v_head.summary", torch.nn.ReLU), "ReLU"
    columns = choose(checkpoint, options, labels_of(layers))
    return PerceptronHead(layers, columns=columns, scale=scale_of(columns, options), activation=activation)
