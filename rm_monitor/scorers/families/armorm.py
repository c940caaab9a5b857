"""ArmoRM (arXiv 2406.12845): 19 ratings of the answer, weighted by a gate that reads the prompt.

``rewards = regression(h_last)``; ``gate = softmax(mlp(h_prompt) / temperature) * logit_scale``;
``score = sum(gate * (rewards @ transform))``. Differences are not log-odds: a temperature has to be fitted.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from rm_monitor.scorers.checkpoint import Checkpoint
from rm_monitor.scorers.heads.gate import gate_pattern, last_occurrence
from rm_monitor.scorers.heads.layers import linear, perceptron
from rm_monitor.scorers.options import Options
from rm_monitor.scorers.reads import CHAT, COMMON
from rm_monitor.scorers.run.assemble import chat_encoding, decoder_scorer
from rm_monitor.scorers.run.parts import Readout
from rm_monitor.scorers.run.pointwise import PointwiseScorer
from rm_monitor.scorers.run.pooling import last_token
from rm_monitor.scorers.text.encodings import Encoded
from rm_monitor.types import Scale

__all__ = ["READS", "GatedHead", "attribute_names", "build", "gating_of"]

READS = COMMON | CHAT

_GROUPS = {
    "helpsteer": ("helpfulness", "correctness", "coherence", "complexity", "verbosity"),
    "ultrafeedback": ("overall_score", "instruction_following", "truthfulness", "honesty", "helpfulness"),
    "beavertails": ("is_safe",),
    "prometheus": ("score",),
    "argilla": ("overall_quality", "judge_lm"),
    "code": ("complexity", "style", "explanation", "instruction-following", "readability"),
}
ATTRIBUTES = tuple(f"{group}-{name}" for group, names in _GROUPS.items() for name in names)


MATRIX = "reward_transform_matrix"


class GatedHead(torch.nn.Module):
    """Ratings at the last token, weighted by a gate read where the last user turn is closed.

    Args:
        ratings: ``(hidden,) -> (objectives * quantiles,)``.
        gate: ``(hidden,) -> (objectives,)`` before the softmax.
        transform: ``(objectives, objectives)``, which takes verbosity out of the ratings.
        temperature: Of the gate's softmax.
        logit_scale: What the gate's weights sum to.
        pattern: The ids at whose first one the gate is read.
        options: What the user said.
    """

    transform: torch.Tensor

    def __init__(
        self,
        ratings: torch.nn.Linear,
        gate: torch.nn.Module,
        transform: torch.Tensor,
        *,
        temperature: float,
        logit_scale: float,
        pattern: Sequence[int],
        options: Options,
    ) -> None:
        super().__init__()
        self.ratings = ratings
        self.gate = gate
        self.register_buffer("transform", transform.float())
        self.temperature = temperature
        self.logit_scale = logit_scale
        self.pattern = tuple(pattern)
        self.names = attribute_names(len(transform))
        self.scale: Scale = options.scale or "unknown"

    @property
    def attributes(self) -> tuple[str, ...]:
        """The ratings."""
        return self.names

    @property
    def identity(self) -> dict[str, str]:
        """Shape and gate."""
        return {
            "reward": f"{len(self.names)} ratings, weighted by the gate",
            "shape": str(list(self.ratings.weight.shape)),
            "read at": "last token; gate where the last user turn is closed",
            "gate temperature": f"{self.temperature:g}",
            "gate sums to": f"{self.logit_scale:g}",
        }

    def positions(self, encoded: Encoded) -> tuple[int, ...]:
        """The last token, and the gate's."""
        gate = last_occurrence(encoded.ids, self.pattern)
        assert gate is not None, "the template was checked, and an answer cannot write these tokens"
        return last_token(encoded.ids), gate

    def weights(self, read: torch.Tensor) -> torch.Tensor:
        """The gate's weights, ``(b, objectives)``."""
        return torch.softmax(self.gate(read[:, 1]) / self.temperature, dim=-1) * self.logit_scale

    def forward(self, read: torch.Tensor) -> Readout:
        """Rewards of ``(b, 2, hidden)``, with each rating by name."""
        ratings = self.ratings(read[:, 0])
        reward = (self.weights(read) * (ratings @ self.transform)).sum(-1)
        return Readout(reward, {name: ratings[:, i] for i, name in enumerate(self.names)})


def build(checkpoint: Checkpoint, options: Options) -> PointwiseScorer:
    """A scorer of this family."""
    tensors = checkpoint.read_starting("gating.layers.", "regression_layer.", MATRIX, optional=("gating.",))
    encoding = chat_encoding(checkpoint, options)
    head = GatedHead(
        linear(tensors["regression_layer.weight"]),
        perceptron(tensors, "gating.layers", torch.nn.ReLU),
        tensors[MATRIX],
        **gating_of(checkpoint, tensors),
        pattern=gate_pattern(encoding, checkpoint.name),
        options=options,
    )
    return decoder_scorer(checkpoint, options, kind="armorm", encoding=encoding, head=head)


def gating_of(checkpoint: Checkpoint, tensors: dict[str, torch.Tensor]) -> dict[str, float]:
    """The gate's temperature, 10 unless the config says otherwise, and what its weights sum to."""
    scale = tensors.get("gating.logit_scale")
    return {
        "temperature": float(checkpoint.config.get("gating_temperature", 10)),
        "logit_scale": 1.0 if scale is None else float(scale.reshape(-1)[0]),
    }


def attribute_names(count: int) -> tuple[str, ...]:
    """The authors' names of 19 or 5 objectives; numbers for any other count."""
    return ATTRIBUTES[:count] if count in (5, 19) else tuple(f"objective_{i}" for i in range(count))
