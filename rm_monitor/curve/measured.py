"""What answering and scoring gave: the value that goes from an evaluation to the curve."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from rm_monitor.types import Table

__all__ = ["Measured"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One evaluation before it is a point; it is made on any rank, process or machine.

    Attributes:
        table: Completions and values; None if it failed, and on every rank but the first.
        error: Why it failed.
        skipped: Why it was left out on purpose; empty when it was not.
        facts: ``seconds``, ``seconds_generate``, ``seconds_score``, ``tokens``, ``tokens_per_second``,
            ``score_tokens``, ``score_tokens_per_second``, ``cache_hits`` (share of scores that were kept);
            ``same_weights_as``: the step whose numbers these are.
        weights: Name of the weights that answered (`rm_monitor.training.digest`); empty: unknown.
        segment: Name of the conditions under which they answered; empty: unknown.
    """

    table: Table | None
    error: Exception | None = None
    skipped: str = ""
    facts: Mapping[str, float] = field(default_factory=dict)
    weights: str = ""
    segment: str = ""
