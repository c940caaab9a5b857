"""Which of several labels is the reward: told by the user, never guessed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from rm_monitor.errors import ScorerError
from rm_monitor.scorers.checkpoint import Checkpoint
from rm_monitor.scorers.options import Options
from rm_monitor.types import Scale

__all__ = ["Columns", "choose", "label_names", "scale_of"]


@dataclass(frozen=True, slots=True)
class Columns:
    """The labels of a head and how they make one reward.

    Attributes:
        names: Of the labels, in order; empty for a single unnamed one.
        weights: One a label; the reward is their weighted sum.
        rule: The choice in words.
    """

    names: tuple[str, ...]
    weights: tuple[float, ...]
    rule: str

    @classmethod
    def choose(
        cls,
        count: int,
        *,
        names: Sequence[str] = (),
        index: int | None = None,
        weights: Sequence[float] | Mapping[str, float] | None = None,
        model: str = "the reward model",
    ) -> Columns:
        """The user's choice, checked.

        Args:
            count: Labels the head has.
            names: Their names; numbered if there are none.
            index: The label that is the reward.
            weights: One a label in order, or by name with 0 for the rest.
            model: What it is called.

        Raises:
            ValueError: If the choice does not fit the head.
            ScorerError: If there are several labels and no choice.

        Example:
            >>> Columns.choose(2, index=1).weights
            (0.0, 1.0)
        """
        known = tuple(names) if len(names) == count else tuple(f"label_{i}" for i in range(count))
        if index is not None and weights is not None:
            raise ValueError("`index` and `weights` both say which label is the reward: give one of them")
        if weights is not None:
            return cls(known, _weights(weights, known), f"weighted sum of {len(known)} labels")
        if index is not None:
            if not -count <= index < count:
                raise ValueError(f"`index` must be below the {count} label(s) of {model}, got {index}")
            index %= count
            return cls(
                known, tuple(float(i == index) for i in range(count)), f"label {index} ({known[index]})"
            )
        if count != 1:
            raise ScorerError(
                f"{model} gives {count} numbers ({', '.join(known[:8])}), and which of them is the "
                "reward cannot be "
                "told from its files: pass `index=` (ODIN's quality head is 1) or `weights=`"
            )
        return cls(known, (1.0,), "its only label")

    @property
    def count(self) -> int:
        """How many labels there are."""
        return len(self.names)

    @property
    def attributes(self) -> tuple[str, ...]:
        """The labels, where there are several: each is a curve of its own."""
        return self.names if self.count > 1 else ()

    @property
    def identity(self) -> dict[str, str]:
        """What decides the reward."""
        return {"reward": self.rule, "weights": ",".join(f"{w:g}" for w in self.weights)}

    def __call__(self, labels: torch.Tensor) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Reward ``(b,)`` of labels ``(b, count)``, and every label by name if there are several."""
        chosen = [i for i, w in enumerate(self.weights) if w]
        if len(chosen) == 1 and self.weights[chosen[0]] == 1.0:
            reward = labels[
                :, chosen[0]
            ]  # one label as it is: another label's inf must not reach it as 0 * inf
        else:
            reward = labels @ torch.tensor(self.weights, dtype=labels.dtype, device=labels.device)
        named = {name: labels[:, i] for i, name in enumerate(self.attributes)}
        return reward, named


def label_names(config: Mapping[str, Any], count: int) -> tuple[str, ...]:
    """Names from ``id2label``; empty if it does not name them all."""
    given = config.get("id2label") or {}
    names = tuple(str(given.get(str(i), given.get(i, ""))) for i in range(count))
    return names if all(names) and len(set(names)) == count else ()


def choose(checkpoint: Checkpoint, options: Options, count: int) -> Columns:
    """Which of the labels are the reward."""
    return Columns.choose(
        count,
        names=label_names(checkpoint.config, count),
        index=options.index,
        weights=options.weights,
        model=repr(checkpoint.name),
    )


def scale_of(columns: Columns, options: Options) -> Scale:
    """Log-odds for a single label, as the Bradley-Terry likelihood trains it; unknown for one of several."""
    return options.scale or ("logit" if columns.count == 1 else "unknown")


def _weights(given: Sequence[float] | Mapping[str, float], names: tuple[str, ...]) -> tuple[float, ...]:
    if isinstance(given, Mapping):
        unknown = sorted(set(given) - set(names))
        if unknown:
            raise ValueError(f"`weights` names {unknown[0]!r}, which is not one of {', '.join(names)}")
        given = [given.get(name, 0.0) for name in names]
    values = tuple(float(w) for w in given)
    if len(values) != len(names) or not all(map(math.isfinite, values)) or not any(values):
        raise ValueError(
            f"`weights` must be {len(names)} finite numbers, not all 0, one for each of "
            f"{', '.join(names)}; got {given!r}"
        )
    return values
