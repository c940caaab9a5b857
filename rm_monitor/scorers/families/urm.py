"""URM (arXiv 2410.00847): a mean and an uncertainty for each attribute, weighted by a gate.

``score.weight`` has two rows an attribute, mean first; ``reward = sum(means * gate(h_last))``. The gate is
trained by the Bradley-Terry likelihood.
"""

from __future__ import annotations

import torch

from rm_monitor.scorers.checkpoint import Checkpoint
from rm_monitor.scorers.families.armorm import attribute_names
from rm_monitor.scorers.heads.layers import LastTokenHead, linear, perceptron
from rm_monitor.scorers.options import Options
from rm_monitor.scorers.reads import CHAT, COMMON
from rm_monitor.scorers.run.assemble import chat_encoding, decoder_scorer
from rm_monitor.scorers.run.parts import Readout
from rm_monitor.scorers.run.pointwise import PointwiseScorer

__all__ = ["READS", "UncertainHead", "build"]

READS = COMMON | CHAT


class UncertainHead(LastTokenHead):
    """Attribute means weighted by a gate, both read at the last token.

    Args:
        values: ``(hidden,) -> (2 * attributes,)``: mean, uncertainty, mean, uncertainty ...
        gate: ``(hidden,) -> (attributes,)``.
        options: What the user said.
    """

    def __init__(self, values: torch.nn.Linear, gate: torch.nn.Module, options: Options) -> None:
        count = values.out_features // 2
        names = tuple(name.removeprefix("helpsteer-") for name in attribute_names(count))
        super().__init__(
            scale=options.scale or "logit",
            identity={
                "reward": f"{count} attribute means, weighted by the gate",
                "shape": str(list(values.weight.shape)),
            },
            attributes=names,
        )
        self.values = values
        self.gate = gate

    def forward(self, read: torch.Tensor) -> Readout:
        """Rewards of ``(b, 1, hidden)``, with each attribute's mean by name."""
        state = read[:, 0]
        means = self.values(state)[:, 0::2]
        return Readout(
            (means * self.gate(state)).sum(-1), {name: means[:, i] for i, name in enumerate(self.attributes)}
        )


def build(checkpoint: Checkpoint, options: Options) -> PointwiseScorer:
    """A scorer of this family."""
    tensors = checkpoint.read_starting("score.weight", "weights.fc.", optional=("score.bias",))
    head = UncertainHead(
        linear(tensors["score.weight"], tensors.get("score.bias")),
        perceptron(tensors, "weights.fc", torch.nn.SELU),
        options,
    )
    encoding = chat_encoding(checkpoint, options)
    return decoder_scorer(checkpoint, options, kind="urm", encoding=encoding, head=head)
