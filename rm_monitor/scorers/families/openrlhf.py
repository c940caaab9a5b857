"""OpenRLHF reward models: a linear head under a name of its own, scores optionally normalised.

Trained on the chat template's text, stripped of trailing newlines and closed by `` <eos>`` where the
template does not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from rm_monitor.scorers.checkpoint import Checkpoint
from rm_monitor.scorers.heads.columns import Columns, choose, scale_of
from rm_monitor.scorers.heads.layers import LastTokenHead, linear
from rm_monitor.scorers.options import Options
from rm_monitor.scorers.reads import COMMON, LABELS
from rm_monitor.scorers.run import networks
from rm_monitor.scorers.run.assemble import decoder_scorer, encoding_for
from rm_monitor.scorers.run.parts import Readout
from rm_monitor.scorers.run.pointwise import PointwiseScorer
from rm_monitor.scorers.text.encodings import ChatEncoding, Encoded, Encoding, conversation
from rm_monitor.types import Prompt

__all__ = ["READS", "NormalisedHead", "OpenRLHFEncoding", "build"]

READS = COMMON | LABELS | {"chat_template", "input_format"}


@dataclass(frozen=True, slots=True)
class OpenRLHFEncoding:
    """A chat template closed the way OpenRLHF closes its training texts."""

    chat: ChatEncoding

    @property
    def tokenizer(self) -> Any:
        """The reward model's own tokenizer."""
        return self.chat.tokenizer

    @property
    def template(self) -> str:
        """The chat template."""
        return self.chat.template

    @property
    def markers(self) -> tuple[str, ...]:
        """None."""
        return ()

    @property
    def identity(self) -> Mapping[str, str]:
        """That of the template."""
        return {**self.chat.identity, "format": "openrlhf"}

    def __call__(self, prompt: Prompt, *answers: str) -> Encoded:
        """The ids of the closed text; the last one is always the end token."""
        text = self.chat.text(conversation(prompt, answers), asked=prompt).rstrip("\n")
        end = self.tokenizer.eos_token
        if end and not text.endswith(end):
            text += f" {end}"
        return Encoded(
            tuple(
                self.tokenizer(text, add_special_tokens=False, truncation=False, verbose=False)["input_ids"]
            )
        )


class NormalisedHead(LastTokenHead):
    """``(score - mean) / std`` if the model was saved with normalisation on.

    Args:
        layer: ``(hidden,) -> (labels,)``.
        columns: Which labels make the score.
        mean: Of the scores in training.
        std: Likewise.
        normalise: Whether the model was saved so.
        name: Of the layer in its files.
        options: What the user said.
    """

    def __init__(
        self,
        layer: torch.nn.Linear,
        *,
        columns: Columns,
        mean: float,
        std: float,
        normalise: bool,
        name: str,
        options: Options,
    ) -> None:
        stretched = normalise and std != 1.0
        super().__init__(
            scale="unknown" if stretched and options.scale is None else scale_of(columns, options),
            identity={
                "head": name,
                "mean": f"{mean:g}",
                "std": f"{std:g}",
                "normalised": str(normalise),
                **columns.identity,
            },
            attributes=columns.attributes,
        )
        self.layer = layer
        self.columns = columns
        self.mean, self.std = (mean, std) if normalise else (0.0, 1.0)

    def forward(self, read: torch.Tensor) -> Readout:
        """Rewards of ``(b, 1, hidden)``."""
        reward, labels = self.columns(self.layer(read[:, 0]))
        return Readout((reward - self.mean) / self.std, labels)


def build(checkpoint: Checkpoint, options: Options) -> PointwiseScorer:
    """A scorer of this family."""
    config = checkpoint.config
    name = str(config.get("value_head_prefix", "score"))
    tensors = checkpoint.read_starting(f"{name}.weight", optional=(f"{name}.bias",))
    normalise = bool(config.get("normalize_reward", False))
    mean, std = float(config.get("mean", 0.0)), float(config.get("std", 1.0))
    layer = linear(tensors[f"{name}.weight"], tensors.get(f"{name}.bias"))
    head = NormalisedHead(
        layer,
        columns=choose(checkpoint, options, layer.out_features),
        mean=mean,
        std=std,
        normalise=normalise,
        name=name,
        options=options,
    )
    tokenizer = networks.tokenizer_for(options, checkpoint)
    encoding: Encoding = encoding_for(tokenizer, options, name=checkpoint.name)
    if isinstance(encoding, ChatEncoding):
        encoding = OpenRLHFEncoding(encoding)
    notes = []
    if head.scale == "unknown" and normalise and std != 1.0:
        notes = [f"scores are divided by std {std:g}: `temperature={1 / std:g}` gives back its log-odds"]
    return decoder_scorer(checkpoint, options, kind="openrlhf", encoding=encoding, head=head, notes=notes)
