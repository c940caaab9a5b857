"""Keys and values in pages: a row's pages lie anywhere, and rows that begin alike share them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from rm_monitor.packed.precision import computing

__all__ = ["Pool"]


class Pool:
    """Pages of every layer, ``(pages, size, heads, width)`` each, made once and of one size.

    Page 0 belongs to nobody: rows that are done write there.

    Args:
        pages: How many can be taken.
        size: Slots of one.

    Example:
        >>> pool = Pool(3, 4)
        >>> mine = pool.take(2)
        >>> pool.share(mine[:1])
        >>> pool.give(mine)
        >>> pool.free
        2
    """

    def __init__(self, pages: int, size: int) -> None:
        self.size = size
        self._count = pages + 1
        self._waiting = list(range(pages, 0, -1))
        self._users = [0] * (pages + 1)
        self._keys: dict[int, Tensor] = {}
        self._values: dict[int, Tensor] = {}

    @property
    def free(self) -> int:
        """Pages that nobody has."""
        return len(self._waiting)

    def take(self, count: int) -> list[int]:
        """Pages with one user."""
        taken = [self._waiting.pop() for _ in range(count)]
        for page in taken:
            self._users[page] = 1
        return taken

    def share(self, pages: Sequence[int]) -> None:
        """One more user of these."""
        for page in pages:
            self._users[page] += 1

    def give(self, pages: Sequence[int]) -> None:
        """One user less of these; pages without any can be taken again."""
        for page in pages:
            self._users[page] -= 1
            if self._users[page] == 0:
                self._waiting.append(page)

    def write(self, layer: int, slots: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Put ``(tokens, heads, width)`` into their slots, page times size plus place; the layer's pages."""
        keys = self._keys.get(layer)
        if keys is None:
            keys, self._values[layer] = self._made(key), self._made(value)
            self._keys[layer] = keys
        values = self._values[layer]
        keys.view(-1, *key.shape[1:]).index_copy_(0, slots, key.to(keys.dtype))
        values.view(-1, *value.shape[1:]).index_copy_(0, slots, value.to(values.dtype))
        return keys, values

    def copy(self, source: Sequence[int], target: Sequence[int]) -> None:
        """Copy pages in all layers."""
        for lines in (self._keys, self._values):
            for line in lines.values():
                at = torch.tensor([source, target], device=line.device)
                line.index_copy_(0, at[1], line.index_select(0, at[0]))

    def _made(self, given: Tensor) -> Tensor:
        return given.new_zeros((self._count, self.size, *given.shape[1:]), dtype=computing(given))
