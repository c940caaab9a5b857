r"""POLAR (arXiv 2507.05197): how like a reference an answer is; it reads prompt, reference and answer.

The text is its authors': ``prompt\nreference<|reward|>prompt\nanswer[UNUSED_TOKEN_130]``, read by
``v_head`` at the last token. It is trained by the Bradley-Terry likelihood between two answers beside one
reference; so the probability here is the model's own: that the completion is preferred to the very text of
the reference.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import expit

from rm_monitor.scorers.checkpoint import Checkpoint
from rm_monitor.scorers.families.bradley_terry import LinearHead
from rm_monitor.scorers.heads.columns import Columns
from rm_monitor.scorers.options import Options
from rm_monitor.scorers.reads import PAIRWISE
from rm_monitor.scorers.run import networks
from rm_monitor.scorers.run.assemble import put_together
from rm_monitor.scorers.run.in_process import InProcessScorer
from rm_monitor.scorers.run.keys import check_rows, digest, row_key
from rm_monitor.scorers.run.pairwise import noticed
from rm_monitor.scorers.run.readers import HiddenReader
from rm_monitor.scorers.text.encodings import Encoded
from rm_monitor.scorers.text.formatting import Rendered
from rm_monitor.types import Completion, Message, Preferences, Prompt

__all__ = ["BETWEEN", "END", "READS", "ReferenceScorer", "WithReference", "build", "polar_text"]

READS = PAIRWISE
BETWEEN = "<|reward|>"
END = "[UNUSED_TOKEN_130]"


def polar_text(messages: Sequence[Message], reference: str, answer: str) -> str:
    r"""The text as its authors write it; turns of a prompt are joined by line ends, without their roles.

    Example:
        >>> polar_text([{"role": "user", "content": "Hi"}], "Hello.", "Go away.")
        'Hi\nHello.<|reward|>Hi\nGo away.[UNUSED_TOKEN_130]'
    """
    asked = "\n".join(m["content"] for m in messages)
    return f"{asked}\n{reference}{BETWEEN}{asked}\n{answer}{END}"


@dataclass(frozen=True, slots=True)
class WithReference:
    """The reference and an answer to the same prompt, in one text."""

    tokenizer: Any
    template: str = ""
    markers: tuple[str, ...] = (BETWEEN, END)

    @property
    def identity(self) -> Mapping[str, str]:
        """The format has no settings."""
        return {"format": "polar"}

    def __call__(self, prompt: Prompt, *answers: str) -> Encoded:
        """The ids of a prompt, its reference (the first) and an answer (the second)."""
        reference, answer = answers
        text = polar_text(prompt.messages, reference, answer)
        return Encoded(
            tuple(self.tokenizer(text, truncation=False, padding=False, verbose=False)["input_ids"])
        )


class ReferenceScorer(InProcessScorer):
    """P(the completion is preferred to the text of its reference), by a model that reads the reference.

    A completion that is the reference is exactly one half. Swapping the two asks beside the other reference,
    so the two probabilities need not add up to one.
    """

    cacheable = True
    answers = 2

    def prefer(
        self, prompts: Sequence[Prompt], completions: Sequence[Completion], references: Sequence[Completion]
    ) -> Preferences:
        """Compare row by row.

        Returns:
            Probabilities ``(n,)``, nan where an input is too long or forged; ``measures`` holds
            ``consistency``, the model's own number for the completion.

        Raises:
            ValueError: If the rows do not belong together.
        """
        ours, theirs = self._render(prompts, completions, references)
        scores = self.read([*ours, *theirs])
        score, fixed = scores.reward[: len(ours)], scores.reward[len(ours) :]
        measures = {"consistency": score, **noticed(scores, len(ours))}
        return Preferences(probability=np.asarray(expit(score - fixed)), measures=measures)

    def keys(
        self, prompts: Sequence[Prompt], completions: Sequence[Completion], references: Sequence[Completion]
    ) -> list[bytes]:
        """The content address of each comparison: the model's identity and the ids of both inputs."""
        identity = digest(self.model_identity)
        both = zip(*self._render(prompts, completions, references), strict=True)
        return [row_key(row_key(identity, a, self.positions(a)), b, self.positions(b)) for a, b in both]

    def _render(
        self, prompts: Sequence[Prompt], completions: Sequence[Completion], references: Sequence[Completion]
    ) -> tuple[list[Rendered], list[Rendered]]:
        """Each completion beside its reference, and each reference beside itself."""
        check_rows(prompts, completions, references)
        rows = list(zip(prompts, completions, references, strict=True))
        ours = [self.formatter.render(p, r.text, c.text) for p, c, r in rows]
        return ours, [self.formatter.render(p, r.text, r.text) for p, _, r in rows]


def build(checkpoint: Checkpoint, options: Options) -> ReferenceScorer:
    """A scorer of this family, where its network is one that transformers knows."""
    weight = checkpoint.read(["v_head.weight"])["v_head.weight"]
    tokenizer = networks.tokenizer_for(options, checkpoint)
    model = networks.decoder(checkpoint, options)
    identity = networks.identity_of(model, checkpoint.weights_digest(), checkpoint.config_digest())
    return put_together(
        ReferenceScorer,
        name=options.name or checkpoint.name,
        kind="polar",
        options=options,
        encoding=WithReference(tokenizer),
        reader=HiddenReader(model, identity),
        head=LinearHead(weight, columns=Columns.choose(len(weight)), scale="logit"),
        limit=networks.longest_input(model.config, tokenizer),
        answers=2,
    )
