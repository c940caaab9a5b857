"""Nemotron ``*-Reward-Principle`` (RLBFF, arXiv 2509.21319): does the answer satisfy a principle, Yes or No?

The conversation is followed by a user turn that names the principle; the reward is the log-odds of Yes
against No as the next token: ``logit_Yes - logit_No``. Without the principle it is another model's score.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from rm_monitor.errors import ScorerError
from rm_monitor.scorers.checkpoint import Checkpoint
from rm_monitor.scorers.families.bradley_terry import LinearHead
from rm_monitor.scorers.heads.columns import Columns
from rm_monitor.scorers.heads.vocabulary import vocabulary_rows
from rm_monitor.scorers.options import Options
from rm_monitor.scorers.reads import COMMON
from rm_monitor.scorers.run import networks
from rm_monitor.scorers.run.assemble import decoder_scorer
from rm_monitor.scorers.run.pointwise import PointwiseScorer
from rm_monitor.scorers.text.encodings import ChatEncoding, Encoded, conversation
from rm_monitor.types import Prompt

__all__ = ["QUESTION", "READS", "PrincipleEncoding", "build"]

READS = COMMON | {"chat_template", "bos", "principle"}
LONGEST = 4096  # tokens; what its card promises
QUESTION = (
    "Evaluate the response to the previous prompt in terms of whether it satisfies this principle: "
    "{principle}. Only answer Yes or No."
)


@dataclass(frozen=True, slots=True)
class PrincipleEncoding:
    """The conversation, the question about the principle, and the assistant's turn opened.

    Attributes:
        chat: The model's own template.
        principle: What an answer is to satisfy: ``"correctness"``, ``"no repetition"`` ...
    """

    chat: ChatEncoding
    principle: str
    markers: tuple[str, ...] = ()

    @property
    def tokenizer(self) -> Any:
        """The model's own tokenizer."""
        return self.chat.tokenizer

    @property
    def template(self) -> str:
        """The chat template."""
        return self.chat.template

    @property
    def identity(self) -> Mapping[str, str]:
        """That of the template, and the principle."""
        return {**self.chat.identity, "format": "principle", "principle": self.principle}

    def __call__(self, prompt: Prompt, *answers: str) -> Encoded:
        """The ids up to where Yes or No comes next."""
        asked = {"role": "user", "content": QUESTION.replace("{principle}", self.principle)}
        turns = [*conversation(prompt, answers), asked]
        return Encoded(self.chat.ids(turns, generation_prompt=True, asked=prompt))


def build(checkpoint: Checkpoint, options: Options) -> PointwiseScorer:
    """A scorer of this family, which the user names: its files are those of any language model.

    Raises:
        ValueError: If there is no principle.
        ScorerError: If the tokenizer has no single token for Yes or for No.
    """
    if not (options.principle or "").strip():
        raise ValueError(
            "`principle` is what an answer is to satisfy, and kind='principle' needs it: pass "
            "principle='correctness', or one of your own in a few words"
        )
    tokenizer = networks.tokenizer_for(options, checkpoint)
    words = {word: tokenizer(word, add_special_tokens=False)["input_ids"] for word in ("Yes", "No")}
    if any(len(ids) != 1 for ids in words.values()):
        raise ScorerError(f"the tokenizer of {checkpoint.name!r} does not write Yes and No as one token each")
    rows = vocabulary_rows(checkpoint, [ids[0] for ids in words.values()])
    columns = replace(Columns.choose(2, names=tuple(words), weights=(1.0, -1.0)), rule="logit Yes - logit No")
    if options.max_length is None:
        positions = int(checkpoint.config.get("max_position_embeddings", LONGEST))
        options = replace(options, max_length=min(LONGEST, positions))
    chat = ChatEncoding.of(tokenizer, template=options.chat_template, bos=options.bos, name=checkpoint.name)
    assert options.principle is not None
    return decoder_scorer(
        checkpoint,
        options,
        kind="principle",
        encoding=PrincipleEncoding(chat, options.principle.strip()),
        head=LinearHead(rows, columns=columns, scale=options.scale or "logit"),
        notes=[f"rates one principle: {options.principle.strip()}"],
    )
