"""RLHFlow pair-preference models (arXiv 2405.07863): a language model answers A or B.

``P(first is better) = sigmoid(logit_A - logit_B)`` at the assistant's first token. The text of the question
is theirs, blanks and line ends included; roles go by turn, and no beginning-of-sequence token is written,
as in training.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rm_monitor.errors import ScorerError
from rm_monitor.scorers.checkpoint import Checkpoint
from rm_monitor.scorers.families.bradley_terry import LinearHead
from rm_monitor.scorers.heads.columns import Columns
from rm_monitor.scorers.heads.vocabulary import vocabulary_rows
from rm_monitor.scorers.options import Options
from rm_monitor.scorers.reads import PAIRWISE
from rm_monitor.scorers.run import networks
from rm_monitor.scorers.run.assemble import put_together
from rm_monitor.scorers.run.pairwise import PairwiseScorer
from rm_monitor.scorers.run.readers import HiddenReader
from rm_monitor.scorers.text.encodings import ChatEncoding, Encoded
from rm_monitor.types import Message, Prompt

__all__ = ["READS", "PairQuestion", "build", "question"]

READS = PAIRWISE | {"chat_template", "bos"}

MARKERS = ("[CONTEXT]", "[RESPONSE A]", "[RESPONSE B]")


def question(messages: Sequence[Message], first: str, second: str) -> str:
    r"""The user turn that asks which answer is better.

    A system turn becomes part of the first user turn: the format knows two roles, by turn.

    Example:
        >>> question([{"role": "user", "content": "Hi"}], "Hello", "Go away")
        '[CONTEXT] \n\n<turn> user\n Hi\n [RESPONSE A] Hello [RESPONSE B] Go away \n'
    """
    turns = [m["content"] for m in messages if m["role"] != "system"]
    system = [m["content"] for m in messages if m["role"] == "system"]
    turns[0] = "\n".join([*system, turns[0]])
    names = ("user", "assistant")
    context = "".join(f"\n<turn> {names[i % 2]}\n {turn}" for i, turn in enumerate(turns))
    return f"[CONTEXT] \n{context}\n [RESPONSE A] {first} [RESPONSE B] {second} \n"


@dataclass(frozen=True, slots=True)
class PairQuestion:
    """The question in the model's own chat template, up to where it answers."""

    chat: ChatEncoding
    markers: tuple[str, ...] = MARKERS

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
        """That of the template."""
        return {**self.chat.identity, "format": "pair_preference"}

    def __call__(self, prompt: Prompt, *answers: str) -> Encoded:
        """The ids of the question, the assistant's turn opened."""
        turn = {"role": "user", "content": question(prompt.messages, *answers)}
        return Encoded(self.chat.ids([turn], generation_prompt=True))

    def check(self, name: str) -> None:
        """The last token must be where the answer A or B comes next.

        Raises:
            ScorerError: If the template does not open the assistant's turn.
        """
        user = {"role": "user", "content": "x"}
        opened = self.chat.ids([user], generation_prompt=True)
        answered = self.chat.ids([user, {"role": "assistant", "content": "A"}])
        rest = self.tokenizer.decode(answered[len(opened) :], skip_special_tokens=False).lstrip()
        if answered[: len(opened)] != opened or not rest.startswith("A"):
            raise ScorerError(
                f"the chat template of {name!r} does not open the assistant's turn, where the model is "
                "to answer A or B: "
                "pass `tokenizer=` or `chat_template=`"
            )


def build(checkpoint: Checkpoint, options: Options) -> PairwiseScorer:
    """A scorer of this family, which the user names: its files are those of any language model."""
    tokenizer = networks.tokenizer_for(options, checkpoint)
    bos = "none" if options.bos == "template" else options.bos
    encoding = PairQuestion(
        ChatEncoding.of(tokenizer, template=options.chat_template, bos=bos, name=checkpoint.name)
    )
    encoding.check(checkpoint.name)
    letters = [tokenizer(letter, add_special_tokens=False)["input_ids"] for letter in "AB"]
    if any(len(ids) != 1 for ids in letters):
        raise ScorerError(f"the tokenizer of {checkpoint.name!r} does not write A and B as one token each")
    rows = vocabulary_rows(checkpoint, [ids[0] for ids in letters])
    columns = replace(Columns.choose(2, names=("A", "B"), weights=(1.0, -1.0)), rule="logit A - logit B")
    model = networks.decoder(checkpoint, options)
    identity = networks.identity_of(model, checkpoint.weights_digest(), checkpoint.config_digest())
    return put_together(
        PairwiseScorer,
        name=options.name or checkpoint.name,
        kind="pair_preference",
        options=options,
        encoding=encoding,
        reader=HiddenReader(model, identity),
        head=LinearHead(rows, columns=columns, scale="logit"),
        limit=networks.longest_input(model.config, tokenizer),
        answers=2,
        average="probability",
    )
