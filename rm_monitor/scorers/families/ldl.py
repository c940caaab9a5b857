"""LDL-Reward: a mixture of ten-bin distributions over [0, 1]; the reward is its mean.

``p = softmax(mlp(h).view(-1, bins))``; ``w = gate(h)``; ``reward = sum_b linspace(0, 1)_b * sum_k w_k
p_kb``. Its authors publish the two heads as pickles, which are not read here: convert them once
(docs/reward-models.md).
"""

from __future__ import annotations

import torch

from rm_monitor.errors import ScorerError
from rm_monitor.scorers.checkpoint import Checkpoint
from rm_monitor.scorers.heads.layers import LastTokenHead, perceptron
from rm_monitor.scorers.options import Options
from rm_monitor.scorers.reads import CHAT, COMMON
from rm_monitor.scorers.run.assemble import chat_encoding, decoder_scorer
from rm_monitor.scorers.run.parts import Readout
from rm_monitor.scorers.run.pointwise import PointwiseScorer

__all__ = ["READS", "MixtureHead", "build"]

READS = COMMON | CHAT

BINS = 10
PREFIXES = ("regression_layer.network", "gating_layer.network")


class MixtureHead(LastTokenHead):
    """The mean of a gated mixture of distributions.

    Args:
        distributions: ``(hidden,) -> (mixtures * bins,)`` before the softmax over bins.
        gate: ``(hidden,) -> (mixtures,)``.
        temperature: Of the gate's softmax; None: the gate's output is used as it is.
        options: What the user said.
    """

    def __init__(
        self,
        distributions: torch.nn.Module,
        gate: torch.nn.Module,
        *,
        temperature: float | None,
        options: Options,
    ) -> None:
        softmax = "none" if temperature is None else f"{temperature:g}"
        scale = options.scale or ("unknown" if temperature is None else "unit")
        super().__init__(
            scale=scale,
            identity={"reward": "mean of the mixture", "bins": str(BINS), "gate softmax": softmax},
        )
        self.distributions = distributions
        self.gate = gate
        self.temperature = temperature

    def forward(self, read: torch.Tensor) -> Readout:
        """Rewards of ``(b, 1, hidden)``."""
        state = read[:, 0]
        shares = torch.softmax(self.distributions(state).reshape(len(state), -1, BINS), dim=-1)
        weights = self.gate(state)
        if self.temperature is not None:
            weights = torch.softmax(weights / self.temperature, dim=-1)
        mixture = torch.einsum("bk,bkj->bj", weights, shares)
        return Readout(mixture @ torch.linspace(0, 1, BINS, device=state.device))


def build(checkpoint: Checkpoint, options: Options) -> PointwiseScorer:
    """A scorer of this family.

    Raises:
        ScorerError: If its heads are not in safetensors.
    """
    if not any(name.startswith(PREFIXES[0]) for name in checkpoint.tensors):
        raise ScorerError(
            f"{checkpoint.name!r} publishes its heads as pickles (regression_layer.pt, "
            "gating_layer.pt), which can run code "
            "when they are read: convert them to safetensors first (docs/reward-models.md shows how)"
        )
    tensors = checkpoint.read_starting(*PREFIXES)
    config = checkpoint.config
    head = MixtureHead(
        perceptron(tensors, PREFIXES[0], torch.nn.LeakyReLU),
        perceptron(tensors, PREFIXES[1], torch.nn.LeakyReLU),
        temperature=float(config.get("temperature", 1.0)) if config.get("softmax", False) else None,
        options=options,
    )
    encoding = chat_encoding(checkpoint, options)
    return decoder_scorer(checkpoint, options, kind="ldl", encoding=encoding, head=head)
