"""Athene-RM: a value head without bias, read at a class token that is appended to the conversation.

Its card appends ``tokenizer.cls_token`` to the rendered template and reads ``v_head`` there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rm_monitor.errors import ScorerError
from rm_monitor.scorers.checkpoint import Checkpoint
from rm_monitor.scorers.families.bradley_terry import LinearHead
from rm_monitor.scorers.heads.columns import choose, scale_of
from rm_monitor.scorers.options import Options
from rm_monitor.scorers.reads import COMMON, LABELS
from rm_monitor.scorers.run import networks
from rm_monitor.scorers.run.assemble import decoder_scorer
from rm_monitor.scorers.run.pointwise import PointwiseScorer
from rm_monitor.scorers.text.encodings import ChatEncoding, Encoded
from rm_monitor.types import Prompt

__all__ = ["READS", "ClassTokenEncoding", "build"]

READS = COMMON | LABELS | {"chat_template", "bos"}


@dataclass(frozen=True, slots=True)
class ClassTokenEncoding:
    """A chat template, then the token at which the score is read.

    Attributes:
        chat: The template.
        token: Id of the class token, which an answer cannot write.
    """

    chat: ChatEncoding
    token: int
    markers: tuple[str, ...] = ()

    @property
    def tokenizer(self) -> Any:
        """The reward model's own tokenizer."""
        return self.chat.tokenizer

    @property
    def template(self) -> str:
        """The chat template."""
        return self.chat.template

    @property
    def identity(self) -> Mapping[str, str]:
        """That of the template, and the token."""
        return {**self.chat.identity, "format": "chat, class token", "token": str(self.token)}

    def __call__(self, prompt: Prompt, *answers: str) -> Encoded:
        """The ids of the conversation, closed by the class token."""
        return Encoded((*self.chat(prompt, *answers).ids, self.token))


def build(checkpoint: Checkpoint, options: Options) -> PointwiseScorer:
    """A scorer of this family.

    Raises:
        ScorerError: If its tokenizer has no class token.
    """
    weight = checkpoint.read(["v_head.weight"])["v_head.weight"]
    tokenizer = networks.tokenizer_for(options, checkpoint)
    if tokenizer.cls_token_id is None:
        raise ScorerError(
            f"the tokenizer of {checkpoint.name!r} has no class token, at which its score is read: pass "
            "`tokenizer=`, the reward model's own"
        )
    chat = ChatEncoding.of(tokenizer, template=options.chat_template, bos=options.bos, name=checkpoint.name)
    columns = choose(checkpoint, options, len(weight))
    return decoder_scorer(
        checkpoint,
        options,
        kind="athene",
        encoding=ClassTokenEncoding(chat, int(tokenizer.cls_token_id)),
        head=LinearHead(weight, columns=columns, scale=scale_of(columns, options)),
    )
