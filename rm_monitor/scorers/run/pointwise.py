"""A pointwise reward model in this process: one number a completion."""

from __future__ import annotations

from collections.abc import Sequence

from rm_monitor.scorers.run.batching import Batcher
from rm_monitor.scorers.run.in_process import InProcessScorer
from rm_monitor.scorers.run.keys import check_rows, digest, row_key
from rm_monitor.scorers.text.formatting import Rendered
from rm_monitor.types import Completion, Prompt, Scores

__all__ = ["PointwiseScorer"]


class PointwiseScorer(InProcessScorer):
    """One number a completion, higher is better."""

    cacheable = True

    def score(self, prompts: Sequence[Prompt], completions: Sequence[Completion]) -> Scores:
        """Score row by row.

        Args:
            prompts: ``n`` prompts.
            completions: ``n`` completions; row i answers prompt i.

        Returns:
            Rewards ``(n,)``, nan where an input is too long, forged or gives no finite score; the flags
            ``overflow``, ``special_text``, ``empty``, ``think`` and ``nonfinite`` say which.

        Raises:
            ValueError: If the rows do not belong together.
            ScorerError: If an input overflows under ``on_overflow="error"`` or a single row does not fit.
        """
        return self.read(self._render(prompts, completions))

    def score_alone(self, prompts: Sequence[Prompt], completions: Sequence[Completion]) -> Scores:
        """Score row by row, one a forward and without padding: what batches are compared with."""
        alone = Batcher(tokens=self.batcher.tokens, single=True)
        return self.read(self._render(prompts, completions), batcher=alone)

    def keys(self, prompts: Sequence[Prompt], completions: Sequence[Completion]) -> list[bytes]:
        """The content address of each score: 16 bytes of the model's identity and the very ids it reads."""
        identity = digest(self.model_identity)
        rendered = self._render(prompts, completions)
        return [row_key(identity, one, self.positions(one)) for one in rendered]

    def _render(self, prompts: Sequence[Prompt], completions: Sequence[Completion]) -> list[Rendered]:
        check_rows(prompts, completions)
        return [self.formatter.render(p, c.text) for p, c in zip(prompts, completions, strict=True)]
