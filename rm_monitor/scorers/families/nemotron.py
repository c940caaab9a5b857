"""Nemotron ``*-Reward-HF``: the logit of vocabulary entry 0 at the last token is the reward.

Its card reads it from the scores of a one-token ``generate``, whose processors may change it; here it is
the product of the last hidden state with row 0 of the vocabulary head.
"""

from __future__ import annotations

from dataclasses import replace

from rm_monitor.scorers.checkpoint import Checkpoint
from rm_monitor.scorers.families.bradley_terry import LinearHead
from rm_monitor.scorers.heads.columns import Columns
from rm_monitor.scorers.heads.vocabulary import vocabulary_rows
from rm_monitor.scorers.options import Options
from rm_monitor.scorers.reads import CHAT, COMMON
from rm_monitor.scorers.run.assemble import chat_encoding, decoder_scorer
from rm_monitor.scorers.run.pointwise import PointwiseScorer

__all__ = ["READS", "build"]

READS = COMMON | CHAT

LONGEST = 4096  # tokens; what its card promises, though the network has more positions


def build(checkpoint: Checkpoint, options: Options) -> PointwiseScorer:
    """A scorer of this family, which the user names: its files are those of any language model."""
    columns = replace(Columns.choose(1), rule="logit of vocabulary entry 0")
    head = LinearHead(vocabulary_rows(checkpoint, [0]), columns=columns, scale=options.scale or "logit")
    if options.max_length is None:
        positions = int(checkpoint.config.get("max_position_embeddings", LONGEST))
        options = replace(options, max_length=min(LONGEST, positions))
    encoding = chat_encoding(checkpoint, options)
    notes = ["its rewards rank answers to one prompt; they do not compare between prompts"]
    return decoder_scorer(checkpoint, options, kind="nemotron", encoding=encoding, head=head, notes=notes)
