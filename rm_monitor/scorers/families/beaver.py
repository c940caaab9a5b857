"""Beaver reward and cost models (safe-rlhf, arXiv 2310.12773): a ``score_head`` and a normaliser.

A cost model's number is a cost, above 0 unsafe: its reward is the number negated, so that higher is better
here as everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from rm_monitor.errors import ScorerError
from rm_monitor.scorers.checkpoint import Checkpoint
from rm_monitor.scorers.heads.columns import Columns, choose, scale_of
from rm_monitor.scorers.heads.layers import LastTokenHead, linear
from rm_monitor.scorers.options import Options
from rm_monitor.scorers.reads import COMMON, LABELS
from rm_monitor.scorers.run import networks
from rm_monitor.scorers.run.assemble import decoder_scorer
from rm_monitor.scorers.run.parts import Readout
from rm_monitor.scorers.run.pointwise import PointwiseScorer
from rm_monitor.scorers.text.encodings import TextEncoding
from rm_monitor.types import Message

__all__ = ["READS", "BeaverHead", "beaver_text", "build"]

READS = COMMON | LABELS

EPSILON = 1e-8  # as in their normaliser


def beaver_text(messages: Sequence[Message], answer: str, end: str = "</s>") -> str:
    """The format they were trained on; earlier answers end with the end token.

    Example:
        >>> beaver_text([{"role": "user", "content": "Hi"}], "Hello")
        'BEGINNING OF CONVERSATION: USER: Hi ASSISTANT:Hello'
    """
    text, pending = "BEGINNING OF CONVERSATION: ", ""
    for m in messages:
        if m["role"] == "assistant":
            text += m["content"] + end
        elif m["role"] == "system":
            pending = m["content"] + "\n"  # they know no system turn
        else:
            text += f"USER: {pending}{m['content']} ASSISTANT:"
            pending = ""
    return text + answer


class BeaverHead(LastTokenHead):
    """The number of the last token, normalised if the model says so, negated if it is a cost.

    Args:
        layer: ``score_head``.
        columns: Which of its numbers make the score.
        mean: Of the normaliser.
        std: Of the normaliser.
        kind: ``reward`` normalises by mean and std, ``cost`` by std alone.
        normalise: Whether the model is set to.
        options: What the user said.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(
        self,
        layer: torch.nn.Linear,
        *,
        columns: Columns,
        mean: torch.Tensor,
        std: torch.Tensor,
        kind: str,
        normalise: bool,
        options: Options,
    ) -> None:
        stretched = normalise and bool((std != 1).any())
        super().__init__(
            scale="unknown" if stretched and options.scale is None else scale_of(columns, options),
            identity={
                "score type": kind,
                "normalised": str(normalise),
                "sign": "-1" if kind == "cost" else "+1",
                **columns.identity,
                "reward": f"its cost, negated; {columns.rule}" if kind == "cost" else columns.rule,
            },
            attributes=(*columns.attributes, *(("unsafe",) if kind == "cost" else ())),
        )
        self.layer = layer
        self.columns = columns
        self.register_buffer("mean", mean.float() if kind == "reward" else torch.zeros_like(mean.float()))
        self.register_buffer("std", std.float())
        self.normalise = normalise
        self.sign = -1.0 if kind == "cost" else 1.0

    def forward(self, read: torch.Tensor) -> Readout:
        """Rewards of ``(b, 1, hidden)``."""
        scores = self.layer(read[:, 0])
        if self.normalise:
            scores = (scores - self.mean) / (self.std + EPSILON)
        number, labels = self.columns(scores)
        unsafe = {"unsafe": (number > 0).float()} if self.sign < 0 else {}  # a cost above 0
        return Readout(self.sign * number, {**labels, **unsafe})


def build(checkpoint: Checkpoint, options: Options) -> PointwiseScorer:
    """A scorer of this family."""
    kind = checkpoint.config.get("score_type", "reward")
    if kind not in ("reward", "cost"):
        raise ScorerError(
            f"{checkpoint.name!r} is a {kind!r} model of safe-rlhf, which does not compare answers"
        )
    tensors = checkpoint.read_starting("score_head.weight", optional=("score_head.bias",))
    layer = linear(tensors["score_head.weight"], tensors.get("score_head.bias"))
    head = BeaverHead(
        layer,
        columns=choose(checkpoint, options, layer.out_features),
        mean=_statistic(checkpoint, "mean", 0.0, layer.out_features),
        std=_statistic(checkpoint, "var", 1.0, layer.out_features).sqrt(),
        kind=kind,
        normalise=bool(checkpoint.config.get("do_normalize", False)),
        options=options,
    )
    tokenizer = networks.tokenizer_for(options, checkpoint)
    end = tokenizer.eos_token or "</s>"
    encoding = TextEncoding(
        tokenizer, write=lambda messages, answer: beaver_text(messages, answer, end), name="beaver"
    )
    return decoder_scorer(checkpoint, options, kind="beaver", encoding=encoding, head=head)


def _statistic(checkpoint: Checkpoint, name: str, default: float, size: int) -> torch.Tensor:
    """The normaliser's buffer in the weights, which load after the config, else the config's."""
    buffer = f"normalizer.{name}"
    if buffer in checkpoint.tensors:
        return checkpoint.read([buffer])[buffer]
    given = checkpoint.config.get(name)
    return torch.full((size,), default) if given is None else torch.as_tensor(given).float().reshape(-1)
