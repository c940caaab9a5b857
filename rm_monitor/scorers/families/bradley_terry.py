"""Bradley-Terry reward models: one linear layer on the last token, or an encoder over prompt and answer.

Skywork-Reward, FsfairX, RM-RB2, OffsetBias, GRM ``-rewardmodel-ft``; OpenAssistant's DeBERTa. A difference
of two rewards is the log-odds that the first answer is better (Bradley & Terry 1952). With several labels
it is an attribute model, and the user says which label, or which weights, make the reward.
"""

from __future__ import annotations

import logging

import torch

from rm_monitor.scorers.checkpoint import Checkpoint
from rm_monitor.scorers.describe import ANSWER, EXAMPLE
from rm_monitor.scorers.heads.columns import Columns, choose, scale_of
from rm_monitor.scorers.heads.layers import LastTokenHead, linear
from rm_monitor.scorers.options import Options
from rm_monitor.scorers.reads import CHAT, COMMON, LABELS
from rm_monitor.scorers.run import networks
from rm_monitor.scorers.run.assemble import chat_encoding, decoder_scorer
from rm_monitor.scorers.run.parts import Readout
from rm_monitor.scorers.run.pointwise import PointwiseScorer
from rm_monitor.scorers.run.pooling import last_token
from rm_monitor.scorers.text.encodings import Encoded, Encoding
from rm_monitor.types import Scale

__all__ = ["READS", "LinearHead", "build", "skipped_token"]

READS = COMMON | CHAT | LABELS | {"pooling"}

log = logging.getLogger("rm_monitor")


class LinearHead(LastTokenHead):
    """Labels as a linear map of the last token's hidden state, in float32, then the reward among them.

    Args:
        weight: ``(labels, hidden)``.
        bias: ``(labels,)`` or None.
        columns: Which labels make the reward.
        scale: What a difference of rewards means.
        skip: The token that does not count as the last one (`skipped_token`).
    """

    def __init__(
        self,
        weight: torch.Tensor,
        bias: torch.Tensor | None = None,
        *,
        columns: Columns,
        scale: Scale,
        skip: int | None = None,
    ) -> None:
        where = "last token" if skip is None else f"last token that is not {skip}"
        shape = str(list(weight.shape))
        super().__init__(
            scale=scale,
            identity={"shape": shape, "read at": where, **columns.identity},
            attributes=columns.attributes,
        )
        self.layer = linear(weight, bias)
        self.columns = columns
        self.skip = skip

    def positions(self, encoded: Encoded) -> tuple[int, ...]:
        """The last token that counts."""
        return (last_token(encoded.ids, skip=self.skip),)

    def forward(self, read: torch.Tensor) -> Readout:
        """Rewards of ``(b, 1, hidden)``."""
        return Readout(*self.columns(self.layer(read[:, 0])))


def build(checkpoint: Checkpoint, options: Options) -> PointwiseScorer:
    """A decoder with ``score.weight``: ``*ForSequenceClassification``."""
    tensors = checkpoint.read_starting("score.weight", optional=("score.bias",))
    weight = tensors["score.weight"]
    columns = choose(checkpoint, options, len(weight))
    encoding = chat_encoding(checkpoint, options)
    skip, notes = skipped_token(encoding, networks.pad_token_of(checkpoint), options)
    head = LinearHead(
        weight, tensors.get("score.bias"), columns=columns, scale=scale_of(columns, options), skip=skip
    )
    return decoder_scorer(
        checkpoint, options, kind="bradley_terry", encoding=encoding, head=head, notes=notes
    )


def skipped_token(encoding: Encoding, pad: int | None, options: Options) -> tuple[int | None, list[str]]:
    """The token that does not count as the last one, and what a person should know of it.

    transformers reads the score at the right-most token that is not the padding token. That is the last
    token, unless inputs end with the padding token itself, as they may where it is also the end token. Such
    a model was trained and evaluated one token earlier, so it is read there; ``pooling="mask"`` reads the
    end all the same.
    """
    ids = encoding(EXAMPLE, ANSWER).ids
    if options.pooling == "mask" or pad is None or not ids or ids[-1] != pad:
        return None, []
    note = (
        f"inputs end with the padding token {pad}: the score is read before it, where transformers reads it; "
        "`pooling='mask'` reads it at the very end"
    )
    if options.pooling == "auto":
        log.warning("%s", note)
    return int(pad), [note]
