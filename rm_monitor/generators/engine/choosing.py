"""From logits to the next tokens and what is said of them, with one copy to the host."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rm_monitor.generators.noise import first_choice, settle
from rm_monitor.generators.pick import sharpness
from rm_monitor.types import Sampling

__all__ = ["Chooser", "Said", "to_host"]

IntArray = NDArray[np.int64]


@dataclass(slots=True)
class Said:
    """One token of each of some rows.

    Attributes:
        rows: ``(n,)``.
        tokens: ``(n,)``.
        facts: ``(2, n)``: entropy and mass, as `sharpness` has them.
    """

    rows: IntArray
    tokens: IntArray
    facts: NDArray[np.float32]


def to_host(found: Tensor) -> NDArray[np.int32]:
    """The one place where the host waits for the device."""
    array: NDArray[np.int32] = found.cpu().numpy()
    return array


class Chooser:
    """Next tokens by a `Sampling`.

    Args:
        sampling: How to choose.
        few: See `first_choice`.
    """

    def __init__(self, sampling: Sampling, *, few: bool) -> None:
        self._few = few
        self._given = {"temperature": sampling.temperature, "top_p": sampling.top_p}

    def look(self, logits: Tensor, keys: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        """``(n,)`` tokens, and ``(4, n)`` int32 for `read`: tokens, settled, bits of entropy and of mass."""
        tokens, settled = first_choice(logits, keys, positions, few=self._few, **self._given)
        bits = [one.float().view(torch.int32) for one in sharpness(logits)]
        return tokens, torch.stack([tokens.to(torch.int32), settled.to(torch.int32), *bits])

    def read(
        self, found: Tensor, logits: Tensor, keys: Tensor, positions: Tensor
    ) -> tuple[IntArray, NDArray[np.float32], IntArray]:
        """What was found, on the host; tokens that were not settled are settled now.

        Returns:
            ``(n,)`` tokens, ``(2, n)`` facts, and which tokens are others than those that `look` gave.
        """
        here = to_host(found)
        tokens, wide = here[0].astype(np.int64), np.flatnonzero(here[1] == 0)
        if len(wide):
            at = torch.from_numpy(wide).to(logits.device)
            tokens[wide] = settle(logits, keys, positions, at, **self._given).cpu().numpy()
        return tokens, here[2:].view(np.float32), wide
