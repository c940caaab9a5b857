"""GRM ``*-sftreg`` (arXiv 2406.10216): a value head on the last token, linear or a perceptron."""

from __future__ import annotations

import torch

from rm_monitor.scorers.checkpoint import Checkpoint
from rm_monitor.scorers.families.inform import PerceptronHead
from rm_monitor.scorers.heads.layers import linear, perceptron
from rm_monitor.scorers.options import Options
from rm_monitor.scorers.run.assemble import chat_encoding, decoder_scorer
from rm_monitor.scorers.run.pointwise import PointwiseScorer

__all__ = ["build"]


def build(checkpoint: Checkpoint, options: Options) -> PointwiseScorer:
    """A scorer of this family; whether its head is linear or a perceptron is told by its tensors."""
    tensors = checkpoint.read_starting("v_head.summary")
    if "v_head.summary.weight" in tensors:
        one = linear(tensors["v_head.summary.weight"], tensors.get("v_head.summary.bias"))
        head = PerceptronHead(torch.nn.Sequential(one), options, "nothing")
    else:
        head = PerceptronHead(perceptron(tensors, "v_head.summary", torch.nn.ReLU), options, "ReLU")
    encoding = chat_encoding(checkpoint, options)
    return decoder_scorer(checkpoint, options, kind="grm", encoding=encoding, head=head)
