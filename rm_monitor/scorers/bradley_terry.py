"""Bradley-Terry reward models: one linear layer on the last token, or an encoder over prompt and answer.

Skywork-Reward, FsfairX, RM-RB2, OffsetBias, GRM ``-rewardmodel-ft``; OpenAssistant's DeBERTa. A difference
of two rewards is the log-odds that the first answer is better (Bradley & Terry 1952). With several labels
it is an attribute model, and the user says which label, or which weights, make the reward.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from rm_monitor.errors import ScorerError
from rm_monitor.scorers import networks
from rm_monitor.scorers.assemble import chat_encoding, decoder_scorer, encoding_for, put_together
from rm_monitor.scorers.checkpoint import Checkpoint
from rm_monitor.scorers.columns import Columns, label_names
from rm_monitor.scorers.options import Options
from rm_monitor.scorers.pointwise import PointwiseScorer, Readout
from rm_monitor.scorers.pooling import last_token
from rm_monitor.scorers.readers import LogitsReader
from rm_monitor.types import Scale

__all__ = ["LabelHead", "LinearHead", "build", "build_text_pair", "scale_of"]


class LinearHead(torch.nn.Module):
    """Labels as a linear map of the last token's hidden state, in float32, then the reward among them.

    Args:
        weight: ``(labels, hidden)``.
        bias: ``(labels,)`` or None.
        columns: Which labels make the reward.
        scale: What a difference of rewards means.
    """

    weight: torch.Tensor
    bias: torch.Tensor | None

    def __init__(
        self, weight: torch.Tensor, bias: torch.Tensor | None = None, *, columns: Columns, scale: Scale
    ) -> None:
        super().__init__()
        self.register_buffer("weight", weight.detach().float())
        self.register_buffer("bias", None if bias is None else bias.detach().float())
        self.columns = columns
        self.scale: Scale = scale

    @property
    def identity(self) -> dict[str, str]:
        """Which label of how many."""
        return {"shape": str(list(self.weight.shape)), "read at": "last token", **self.columns.identity}

    def positions(self, ids: Sequence[int]) -> tuple[int, ...]:
        """The last token."""
        return last_token(ids)

    def forward(self, read: torch.Tensor) -> Readout:
        """Rewards of ``(b, 1, hidden)``."""
        return Readout(*self.columns(torch.nn.functional.linear(read[:, 0], self.weight, self.bias)))


class LabelHead(torch.nn.Module):
    """Labels that the network gives itself; picks the reward among them."""

    def __init__(self, *, columns: Columns, scale: Scale) -> None:
        super().__init__()
        self.columns = columns
        self.scale: Scale = scale

    @property
    def identity(self) -> dict[str, str]:
        """Which label of how many."""
        return {"labels": str(self.columns.count), "read at": "its own pooler", **self.columns.identity}

    def positions(self, ids: Sequence[int]) -> tuple[int, ...]:
        """Not used by an encoder; the last token, so that rows look alike."""
        return last_token(ids)

    def forward(self, read: torch.Tensor) -> Readout:
        """Rewards of ``(b, 1, labels)``."""
        return Readout(*self.columns(read[:, 0]))


def build(checkpoint: Checkpoint, options: Options) -> PointwiseScorer:
    """A decoder with ``score.weight``: ``*ForSequenceClassification``."""
    names = [n for n in ("score.weight", "score.bias") if n in checkpoint.tensors]
    tensors = checkpoint.read(names)
    columns = choose(checkpoint, options, len(tensors["score.weight"]))
    head = LinearHead(
        tensors["score.weight"], tensors.get("score.bias"), columns=columns, scale=scale_of(columns, options)
    )
    encoding = chat_encoding(checkpoint, options)
    return decoder_scorer(checkpoint, options, kind="bradley_terry", encoding=encoding, head=head)


def build_text_pair(checkpoint: Checkpoint, options: Options) -> PointwiseScorer:
    """An encoder over the pair of prompt and answer."""
    last = [
        name for name in ("classifier.weight", "classifier.out_proj.weight") if name in checkpoint.tensors
    ]
    if not last:
        raise ScorerError(f"{checkpoint.name!r} has no classifier weights that are known here")
    columns = choose(checkpoint, options, checkpoint.tensors[last[0]].shape[0])
    tokenizer = networks.tokenizer_for(options, checkpoint)
    model = networks.encoder(checkpoint, options)
    identity = networks.identity_of(model, checkpoint.weights_digest(), checkpoint.config_digest())
    return put_together(
        name=options.name or checkpoint.name,
        kind="text_pair",
        options=options,
        encoding=encoding_for(tokenizer, options, default="text_pair", name=checkpoint.name),
        reader=LogitsReader(model, identity),
        head=LabelHead(columns=columns, scale=scale_of(columns, options)),
    )


def choose(checkpoint: Checkpoint, options: Options, count: int) -> Columns:
    """Which of the labels are the reward."""
    return Columns.choose(
        count,
        names=label_names(checkpoint.config, count),
        index=options.index,
        weights=options.weights,
        model=repr(checkpoint.name),
    )


def scale_of(columns: Columns, options: Options) -> Scale:
    """Log-odds for a single label, as the Bradley-Terry likelihood trains it; unknown for one of several."""
    return options.scale or ("logit" if columns.count == 1 else "unknown")
