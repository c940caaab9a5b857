"""Which of a server's numbers is the reward."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from rm_monitor.errors import ScorerError
from rm_monitor.types import FloatArray

__all__ = ["HELPSTEER", "Selection"]

# NeMo's order (NeMo-Aligner, steerlm/common.py); preference models are trained on number 4.
HELPSTEER = (
    *("quality", "toxicity", "humor", "creativity", "helpfulness"),
    *("correctness", "coherence", "complexity", "verbosity"),
)


@dataclass(frozen=True, slots=True)
class Selection:
    """A column, or a weighted sum of columns.

    Attributes:
        index: Which column is the reward; None: the only one.
        weights: One a column, instead.
        names: Of the columns, where they are known; each becomes an attribute.

    Example:
        >>> Selection(index=1)(np.array([[1.0, 2.0], [3.0, 4.0]]))[0]
        array([2., 4.])
    """

    index: int | None = None
    weights: tuple[float, ...] | None = None
    names: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        index: int | None,
        weights: Sequence[float] | Mapping[str, float] | None,
        names: tuple[str, ...] = (),
    ) -> Selection:
        """From what the user gave.

        Raises:
            ValueError: If both are given, or a weight's name is unknown.
        """
        if index is not None and weights is not None:
            raise ValueError("`index` and `weights` both say what the reward is: give one of them")
        if isinstance(weights, Mapping):
            unknown = sorted(set(weights) - set(names))
            if unknown:
                raise ValueError(f"`weights` names {unknown}; this server's scores are {list(names)}")
            weights = [float(weights.get(name, 0.0)) for name in names]
        return cls(index, None if weights is None else tuple(map(float, weights)), names)

    @property
    def width(self) -> int:
        """Columns it needs; 0: whatever comes."""
        return len(self.weights or ()) or (0 if self.index is None else self.index + 1)

    def __call__(self, columns: FloatArray) -> tuple[FloatArray, dict[str, FloatArray]]:
        """``(n,)`` rewards of ``(n, c)`` numbers, and the named columns.

        Raises:
            ScorerError: If there are several columns and nothing says which counts.
        """
        count = columns.shape[1]
        named = self.names if len(self.names) == count and count > 1 else ()
        attributes = {name: columns[:, i] for i, name in enumerate(named)}
        if self.weights is not None and len(self.weights) == count:
            return columns @ np.array(self.weights), attributes
        if self.weights is None and self.index is not None and self.index < count and count > 1:
            return columns[:, self.index], attributes
        if count == 1 and self.weights is None and self.index in (None, 0):
            return columns[:, 0], attributes
        if named and self.weights is None and self.index is None and "helpfulness" in named:
            return attributes["helpfulness"], attributes
        raise ScorerError(
            f"the server gives {count} numbers an answer and `index`={self.index}, `weights`={self.weights} "
            "do not say which is the reward: pass index= or one weight a number"
        )

    def __str__(self) -> str:
        if self.weights is not None:
            return f"weighted sum {list(self.weights)}"
        if self.index is not None:
            return f"number {self.index}"
        return "helpfulness of the HelpSteer attributes" if self.names else "the only number"
