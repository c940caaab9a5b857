"""The reward implied by a DPO-trained policy and the model it started from (arXiv 2305.18290, equation 5).

``reward = beta * sum over the answer's tokens of (log p_policy - log p_reference)``. With the beta of
training its differences are log-odds; divided by the answer's length they are a different score, and no
log-odds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from rm_monitor.errors import ScorerError
from rm_monitor.scorers.checkpoint import Checkpoint, open_checkpoint
from rm_monitor.scorers.options import Options
from rm_monitor.scorers.reads import COMMON
from rm_monitor.scorers.run import networks
from rm_monitor.scorers.run.assemble import put_together
from rm_monitor.scorers.run.batching import Batch
from rm_monitor.scorers.run.parts import Readout
from rm_monitor.scorers.run.pointwise import PointwiseScorer
from rm_monitor.scorers.text.encodings import ChatEncoding, Encoded, conversation, tokenizer_digest
from rm_monitor.types import Prompt, Scale

__all__ = ["READS", "AnswerEncoding", "ImplicitHead", "LogRatioReader", "build"]

READS = COMMON | {"chat_template", "bos", "reference", "beta", "length_normalised"}


@dataclass(frozen=True, slots=True)
class AnswerEncoding:
    """A chat template that also tells where the answer begins."""

    chat: ChatEncoding
    markers: tuple[str, ...] = ()

    @property
    def tokenizer(self) -> Any:
        """The policy's tokenizer."""
        return self.chat.tokenizer

    @property
    def template(self) -> str:
        """The chat template."""
        return self.chat.template

    @property
    def identity(self) -> Mapping[str, str]:
        """That of the template."""
        return {**self.chat.identity, "format": "chat, answer marked"}

    def __call__(self, prompt: Prompt, *answers: str) -> Encoded:
        """The ids, and the first one that is not the prompt's.

        The prompt is tokenised alone and compared: where the last token of the prompt and the first of the
        answer merge, the answer begins with the merged one.
        """
        ids = self.chat.ids(conversation(prompt, answers), asked=prompt)
        asked = self.chat.ids(conversation(prompt, ()), generation_prompt=True, asked=prompt)
        start = next((i for i, (a, b) in enumerate(zip(asked, ids, strict=False)) if a != b), len(asked))
        return Encoded(ids, None, min(start, len(ids)))


@dataclass(frozen=True, slots=True)
class LogRatioReader:
    """``(b, 1, 2)``: the answer's log-ratio of two language models, and its number of tokens.

    Attributes:
        model: Policy and reference.
        identity: Of both.
    """

    model: torch.nn.ModuleList
    identity: Mapping[str, str]

    def __call__(self, batch: Batch) -> torch.Tensor:
        """Log-ratios of a batch."""
        policy, reference = (self._log_probabilities(model, batch) for model in self.model)
        lengths = torch.tensor([float(row.read[1] - row.read[0]) for row in batch.rows])
        return torch.stack([policy - reference, lengths.to(policy.device)], -1)[:, None, :]

    def _log_probabilities(self, model: Any, batch: Batch) -> torch.Tensor:
        positions = (batch.mask.cumsum(-1) - 1).clamp(min=0)
        first = min(row.read[0] for row in batch.rows) - 1  # nobody reads what a prompt's tokens predict
        logits = model(
            input_ids=batch.ids,
            attention_mask=batch.mask,
            position_ids=positions,
            use_cache=False,
            logits_to_keep=batch.ids.shape[1] - first,
        ).logits
        sums = []
        for i, row in enumerate(batch.rows):
            start, end = row.read
            # float32 a row at a time: a batch of them in float32 would be the largest tensor of all.
            predicted = logits[i, start - 1 - first : end - 1 - first].float().log_softmax(-1)
            sums.append(predicted.gather(-1, batch.ids[i, start:end, None]).sum())
        return torch.stack(sums)


class ImplicitHead(torch.nn.Module):
    """``beta`` times the log-ratio, by length if asked for."""

    attributes: tuple[str, ...] = ()

    def __init__(self, *, beta: float, length_normalised: bool, scale: Scale) -> None:
        super().__init__()
        self.beta = beta
        self.length_normalised = length_normalised
        self.scale: Scale = scale

    @property
    def identity(self) -> dict[str, str]:
        """Its two settings."""
        return {
            "reward": "beta times the answer's log-ratio",
            "beta": f"{self.beta:g}",
            "length normalised": str(self.length_normalised),
        }

    def positions(self, encoded: Encoded) -> tuple[int, ...]:
        """Where the answer begins and ends."""
        return encoded.start, len(encoded.ids)

    def forward(self, read: torch.Tensor) -> Readout:
        """Rewards of ``(b, 1, 2)``."""
        ratio, length = read[:, 0].unbind(-1)
        if self.length_normalised:
            ratio = ratio / length.clamp(min=1)
        return Readout(self.beta * ratio)


def build(checkpoint: Checkpoint, options: Options) -> PointwiseScorer:
    """A scorer of this family, which the user names by giving the reference.

    Raises:
        ValueError: If there is no reference, or ``beta`` is not positive.
        ScorerError: If the two do not share a tokenizer.
    """
    if options.reference is None:
        raise ValueError(
            "`reference` is the model the DPO-trained policy started from, and kind='implicit' needs it: "
            "pass its folder or hub id"
        )
    if not options.beta > 0:
        raise ValueError(f"`beta` is DPO's and must be above 0, got {options.beta}")
    started = open_checkpoint(options.reference)
    tokenizer = networks.tokenizer_for(options, checkpoint)
    _share_tokenizer(tokenizer, checkpoint, started)
    encoding = AnswerEncoding(
        ChatEncoding.of(tokenizer, template=options.chat_template, bos=options.bos, name=checkpoint.name)
    )
    models, identity = [], {}
    for role, one in (("policy", checkpoint), ("reference", started)):
        models.append(networks.language_model(one, options))
        facts = networks.identity_of(models[-1], one.weights_digest(), one.config_digest())
        identity.update({f"{role}.{k}": v for k, v in facts.items()})
    scale: Scale = "unknown" if options.length_normalised else "logit"
    head = ImplicitHead(
        beta=options.beta, length_normalised=options.length_normalised, scale=options.scale or scale
    )
    return put_together(
        PointwiseScorer,
        name=options.name or checkpoint.name,
        kind="implicit",
        options=options,
        encoding=encoding,
        reader=LogRatioReader(torch.nn.ModuleList(models), identity),
        head=head,
        limit=networks.longest_input(models[0].config, tokenizer),
        notes=[f"log-odds only if DPO was trained with beta {options.beta:g}"],
    )


def _share_tokenizer(tokenizer: Any, policy: Checkpoint, reference: Checkpoint) -> None:
    if not (reference.folder / "tokenizer.json").is_file():
        return
    other = networks.tokenizer_for(Options(), reference)
    if tokenizer_digest(other) != tokenizer_digest(tokenizer) and other.get_vocab() != tokenizer.get_vocab():
        raise ScorerError(
            f"{policy.name!r} and its `reference` {reference.name!r} have different tokenizers, so the "
            "reference is not the "
            "model it started from"
        )
