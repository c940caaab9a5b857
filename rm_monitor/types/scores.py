"""What a reward model and a preference model say, row by row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from rm_monitor.types.arrays import BoolArray, FloatArray

__all__ = ["Preferences", "Scale", "Scores"]

Scale: TypeAlias = Literal["logit", "rating", "unit", "unknown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """Rewards of some completions, row by row. Higher is better, always (a cost is negated inside).

    Attributes:
        reward: ``(n,)``; nan where the completion could not be scored.
        attributes: Further scores of a multi-attribute model, each ``(n,)``, by name.
        flags: What was noticed, each ``(n,)`` of bool: ``overflow`` (longer than the reward model
            reads), ``special_text`` (control tokens in the text, neutralised), ``empty`` ...
    """

    reward: FloatArray
    attributes: Mapping[str, FloatArray] = field(default_factory=dict)
    flags: Mapping[str, BoolArray] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Preferences:
    """What a preference model says of some pairs, row by row.

    Attributes:
        probability: ``(n,)``, P(completion is better than the reference) in [0, 1], averaged over both
            orders; nan where no answer could be read.
        order_gap: ``(n,)``, how far the two orders disagree, in [0, 1]; nan unknown.
        measures: What else was noticed, each ``(n,)``, by metric name: ``unparsed`` (1 where a judge gave no
            clear verdict), ``disagreement`` of an ensemble ...
    """

    probability: FloatArray
    order_gap: FloatArray | None = None
    measures: Mapping[str, FloatArray] = field(default_factory=dict)
