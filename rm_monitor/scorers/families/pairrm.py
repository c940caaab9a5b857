"""PairRM (arXiv 2306.02561): a DeBERTa that reads a source and two marked candidates.

``logit = mean over tasks of head(source, first) - head(source, second)``, read at the three marks. The two
orders are averaged before the sigmoid: ``sigmoid((AB - BA) / 2)``; their plain difference would double the
log-odds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from rm_monitor.scorers.checkpoint import Checkpoint
from rm_monitor.scorers.heads.layers import linear
from rm_monitor.scorers.options import Options
from rm_monitor.scorers.reads import PAIRWISE
from rm_monitor.scorers.run import networks
from rm_monitor.scorers.run.assemble import put_together
from rm_monitor.scorers.run.batching import Batch
from rm_monitor.scorers.run.pairwise import PairwiseScorer
from rm_monitor.scorers.run.parts import Readout
from rm_monitor.scorers.run.pooling import at_positions
from rm_monitor.scorers.text.encodings import Encoded
from rm_monitor.types import Message, Prompt, Scale

__all__ = ["READS", "MarkedReader", "PairRMHead", "SourceAndCandidates", "build"]

READS = PAIRWISE

LONGEST = 2048  # tokens of source and candidates together, as they were trained
LONGEST_SOURCE = 1224  # of which the source had at most so many, and each candidate half of what is left
# The authors' words, misspelling included: the model was trained on them.
INSTRUCTION = (
    "Finish the following coversation in each i-th turn by filling in <Response i> with your response."
)
MARKS = ("<|source|>", "<|candidate1|>", "<|candidate2|>")


@dataclass(frozen=True, slots=True)
class SourceAndCandidates:
    """``<|source|>...<|candidate1|>...<|candidate2|>...``, each with the tokenizer's own ends."""

    tokenizer: Any
    template: str = ""
    markers: tuple[str, ...] = MARKS

    @property
    def identity(self) -> Mapping[str, str]:
        """The format has no settings."""
        return {"format": "pairrm"}

    def __call__(self, prompt: Prompt, *answers: str) -> Encoded:
        """The ids of a source and two candidates, not truncated."""
        source, candidates = source_and_candidates(prompt.messages, answers)
        texts = [mark + text for mark, text in zip(MARKS, [source, *candidates], strict=True)]
        pieces = self.tokenizer(texts, truncation=False, padding=False, verbose=False)["input_ids"]
        room = (LONGEST - len(pieces[0])) // 2
        too_long = len(pieces[0]) > LONGEST_SOURCE or any(len(piece) > room for piece in pieces[1:])
        return Encoded(tuple(i for piece in pieces for i in piece), too_long=too_long)


def source_and_candidates(messages: Sequence[Message], answers: Sequence[str]) -> tuple[str, list[str]]:
    """One turn as it was trained on, instruction and answers as they are; several in the conversation format.

    A system turn becomes part of the first user turn.

    Example:
        >>> source_and_candidates([{"role": "user", "content": "Hi"}], ["Hello", "Go"])
        ('Hi', ['Hello', 'Go'])
    """
    system = "".join(f"{m['content']}\n" for m in messages if m["role"] == "system")
    asked = [m["content"] for m in messages if m["role"] == "user"]
    said = [m["content"] for m in messages if m["role"] == "assistant"]
    asked[0] = system + asked[0]
    if len(asked) == 1:
        return asked[0], list(answers)
    turns = [f"USER: {text}\nAssistant: <Response {i}>" for i, text in enumerate(asked, 1)]
    candidates = [
        "\n".join(f"<Response {i}>: {text}" for i, text in enumerate([*said, answer], 1))
        for answer in answers
    ]
    return INSTRUCTION + "\n".join(turns), candidates


@dataclass(frozen=True, slots=True)
class MarkedReader:
    """An encoder's hidden states at the marks: ``(b, 3, hidden)``."""

    model: Any
    identity: Mapping[str, str]

    def __call__(self, batch: Batch) -> torch.Tensor:
        """Hidden states of a batch."""
        states = self.model(input_ids=batch.ids, attention_mask=batch.mask).last_hidden_state
        return at_positions(states, batch.read)


class PairRMHead(torch.nn.Module):
    """The log-odds that the first candidate is better.

    Args:
        layers: ``(2 * hidden,) -> (tasks,)``.
        marks: Ids of the marks of source, first and second candidate.
    """

    scale: Scale = "logit"
    attributes: tuple[str, ...] = ()

    def __init__(self, layers: torch.nn.Module, marks: Sequence[int]) -> None:
        super().__init__()
        self.layers = layers
        self.marks = tuple(marks)

    @property
    def identity(self) -> dict[str, str]:
        """Where it reads."""
        return {"read at": f"the marks {list(self.marks)}", "reward": "first - second, mean over tasks"}

    def positions(self, encoded: Encoded) -> tuple[int, ...]:
        """The three marks."""
        return tuple(encoded.ids.index(mark) for mark in self.marks)

    def forward(self, read: torch.Tensor) -> Readout:
        """Log-odds of ``(b, 3, hidden)``."""
        source, first, second = read.unbind(1)
        left = self.layers(torch.cat([source, first], -1))
        right = self.layers(torch.cat([source, second], -1))
        return Readout((left - right).mean(-1))


def build(checkpoint: Checkpoint, options: Options) -> PairwiseScorer:
    """A scorer of this family."""
    names = [f"head_layer.{i}.{part}" for i in (1, 4) for part in ("weight", "bias")]
    t = checkpoint.read(names)
    layers = torch.nn.Sequential(
        linear(t["head_layer.1.weight"], t["head_layer.1.bias"]),
        torch.nn.Tanh(),
        linear(t["head_layer.4.weight"], t["head_layer.4.bias"]),
    )
    config = checkpoint.config
    marks = [config["source_prefix_id"], config["cand1_prefix_id"], config["cand2_prefix_id"]]
    tokenizer = networks.tokenizer_for(options, checkpoint)
    model = networks.decoder(checkpoint, options, prefix="pretrained_model.")
    identity = networks.identity_of(model, checkpoint.weights_digest(), checkpoint.config_digest())
    return put_together(
        PairwiseScorer,
        name=options.name or checkpoint.name,
        kind="pairrm",
        options=options,
        encoding=SourceAndCandidates(tokenizer),
        reader=MarkedReader(model, identity),
        head=PairRMHead(layers, marks),
        limit=LONGEST,  # relative positions: more than its config's 512, and what it was trained with
        answers=2,
        average="log_odds",
    )
