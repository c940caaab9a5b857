"""Encoders over the pair of prompt and answer: OpenAssistant's DeBERTa, and BERT or RoBERTa trained alike."""

from __future__ import annotations

from typing import Any

import torch

from rm_monitor.errors import ScorerError
from rm_monitor.scorers.checkpoint import Checkpoint
from rm_monitor.scorers.heads.columns import Columns, choose, scale_of
from rm_monitor.scorers.heads.layers import LastTokenHead
from rm_monitor.scorers.options import Options
from rm_monitor.scorers.reads import CHAT, COMMON, LABELS
from rm_monitor.scorers.run import networks
from rm_monitor.scorers.run.assemble import encoding_for, put_together
from rm_monitor.scorers.run.parts import Readout
from rm_monitor.scorers.run.pointwise import PointwiseScorer
from rm_monitor.scorers.run.readers import LogitsReader
from rm_monitor.types import Scale

__all__ = ["READS", "LabelHead", "build"]

READS = COMMON | CHAT | LABELS


class LabelHead(LastTokenHead):
    """Labels that the network gives itself; picks the reward among them."""

    def __init__(self, *, columns: Columns, scale: Scale) -> None:
        identity = {"labels": str(columns.count), "read at": "its own pooler", **columns.identity}
        super().__init__(scale=scale, identity=identity, attributes=columns.attributes)
        self.columns = columns

    def forward(self, read: torch.Tensor) -> Readout:
        """Rewards of ``(b, 1, labels)``."""
        return Readout(*self.columns(read[:, 0]))


def build(checkpoint: Checkpoint, options: Options) -> PointwiseScorer:
    """An encoder over the pair of prompt and answer."""
    last = [
        name for name in ("classifier.weight", "classifier.out_proj.weight") if name in checkpoint.tensors
    ]
    if not last:
        raise ScorerError(f"{checkpoint.name!r} has no classifier weights that are known here")
    columns = choose(checkpoint, options, checkpoint.tensors[last[0]].shape[0])
    tokenizer = networks.tokenizer_for(options, checkpoint)
    notes = _training_length(tokenizer, options)
    model = networks.encoder(checkpoint, options)
    identity = networks.identity_of(model, checkpoint.weights_digest(), checkpoint.config_digest())
    return put_together(
        PointwiseScorer,
        name=options.name or checkpoint.name,
        kind="text_pair",
        options=options,
        encoding=encoding_for(tokenizer, options, default="text_pair", name=checkpoint.name),
        reader=LogitsReader(model, identity),
        head=LabelHead(columns=columns, scale=scale_of(columns, options)),
        limit=networks.longest_input(model.config, tokenizer),
        notes=notes,
    )


def _training_length(tokenizer: Any, options: Options) -> list[str]:
    """A truncation left in tokenizer.json is often the length the model was trained at."""
    left = getattr(getattr(tokenizer, "backend_tokenizer", None), "truncation", None)
    if not left or options.max_length is not None:
        return []
    return [
        f"its tokenizer.json cuts inputs at {left['max_length']} tokens, perhaps the longest it was "
        "trained on; "
        f"`max_length={left['max_length']}` leaves longer ones unscored"
    ]
