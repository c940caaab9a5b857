"""A pairwise reward model in this process: reads two answers at once, in both orders."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from scipy.special import expit

from rm_monitor.scorers.run.in_process import InProcessScorer
from rm_monitor.scorers.run.keys import check_rows, digest, row_key
from rm_monitor.scorers.text.formatting import SELDOM, Rendered
from rm_monitor.types import Completion, FloatArray, Preferences, Prompt, Scores

__all__ = ["PairwiseScorer", "noticed"]


class PairwiseScorer(InProcessScorer):
    """The probability that a completion beats its reference.

    The head's number for answers (a, b) is the log-odds that a is better. Models prefer one place to
    another, so every pair is read in both orders; equal answers come out at exactly one half.

    Args:
        average: ``probability``: the mean of both orders' probabilities. ``log_odds``: the sigmoid of the
            mean of both orders' log-odds.
        **parts: As for `InProcessScorer`.
    """

    cacheable = True
    answers = 2

    def __init__(self, *, average: Literal["probability", "log_odds"], **parts: Any) -> None:
        super().__init__(**parts)
        self.average = average

    def prefer(
        self, prompts: Sequence[Prompt], completions: Sequence[Completion], references: Sequence[Completion]
    ) -> Preferences:
        """Compare row by row.

        Args:
            prompts: ``n`` prompts.
            completions: ``n`` completions; row i answers prompt i.
            references: ``n`` completions to compare them with.

        Returns:
            Probabilities ``(n,)``, nan where an input is too long or forged, and how far the two orders
            disagree.

        Raises:
            ValueError: If the rows do not belong together.
        """
        forward, backward = self._render(prompts, completions, references)
        scores = self.read([*forward, *backward])
        said = scores.reward
        ahead, behind = said[: len(forward)], said[len(forward) :]
        first, second = expit(ahead), expit(behind)
        if self.average == "probability":
            probability = (first + (1 - second)) / 2
        else:
            probability = expit((ahead - behind) / 2)
        measures = noticed(scores, len(forward))
        return Preferences(probability=probability, order_gap=np.abs(first - (1 - second)), measures=measures)

    def keys(
        self, prompts: Sequence[Prompt], completions: Sequence[Completion], references: Sequence[Completion]
    ) -> list[bytes]:
        """The content address of each comparison: the model's identity and the ids of both orders."""
        identity = digest({**self.model_identity, "average": self.average})
        both = zip(*self._render(prompts, completions, references), strict=True)
        return [
            row_key(row_key(identity, ahead, self.positions(ahead)), behind, self.positions(behind))
            for ahead, behind in both
        ]

    def _render(
        self, prompts: Sequence[Prompt], completions: Sequence[Completion], references: Sequence[Completion]
    ) -> tuple[list[Rendered], list[Rendered]]:
        """Both orders of each pair."""
        check_rows(prompts, completions, references)
        rows = list(zip(prompts, completions, references, strict=True))
        forward = [self.formatter.render(p, c.text, r.text) for p, c, r in rows]
        backward = [self.formatter.render(p, r.text, c.text) for p, c, r in rows]
        return forward, backward


def noticed(scores: Scores, pairs: int) -> dict[str, FloatArray]:
    """What was noticed of either of a pair's two inputs and decides what its probability means, if anything.

    Args:
        scores: Of ``pairs`` inputs and then the other ``pairs``.
        pairs: How many.
    """
    either = {name: scores.flags[name] for name in ("overflow", *SELDOM) if name in scores.flags}
    found = {name: (flag[:pairs] | flag[pairs:]).astype(np.float64) for name, flag in either.items()}
    return {name: values for name, values in found.items() if values.any()}
