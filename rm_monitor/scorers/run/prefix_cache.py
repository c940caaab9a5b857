"""What rows began with at an earlier scoring: a run asks the same prompts at every evaluation.

In a causal network keys and values of a prompt do not depend on what comes after it. They are kept, within a
bound, and the next evaluation computes its answers alone.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from rm_monitor.scorers.run.batching import Row

__all__ = ["CachedPrefix", "Hits", "PrefixCache", "common"]

WORTH_SHARING = 16  # tokens; a branch is attended to on its own, which costs about as much as a few tokens
_REMEMBERED = 2048  # rows whose ids are remembered, to see what later ones have in common with them


@dataclass(frozen=True, slots=True, eq=False)
class CachedPrefix:
    """A beginning and what later tokens see of it.

    Attributes:
        ids: Its tokens.
        lines: Layer -> its keys and values, ``(heads, tokens, width)`` each.
    """

    ids: tuple[int, ...]
    lines: Mapping[int, tuple[Tensor, Tensor]]

    @property
    def size(self) -> int:
        """Bytes."""
        return sum(line.numel() * line.element_size() for lines in self.lines.values() for line in lines)


@dataclass(slots=True)
class Hits:
    """What is known of some rows before they are scored.

    Attributes:
        kept: Row -> a beginning that is kept, and how many of its tokens the row begins with.
        alike: Row -> how many tokens it began with alike at an earlier scoring: worth keeping now.
    """

    kept: dict[int, tuple[CachedPrefix, int]] = field(default_factory=dict)
    alike: dict[int, int] = field(default_factory=dict)


class PrefixCache:
    """Of one network, whose weights never change.

    Args:
        room: Bytes it may take; what does not fit any more is computed again each time.
    """

    def __init__(self, room: int) -> None:
        self.room = room
        self._kept: list[tuple[tuple[int, ...], int, CachedPrefix]] = []  # sorted by ids
        self._seen: list[tuple[int, ...]] = []  # likewise

    def look_up(self, rows: Sequence[Row]) -> Hits:
        """What is known of these rows; a beginning ends before the first token that is read."""
        known = Hits()
        for i, row in enumerate(rows):
            limit = min((len(row.ids) - 1, *row.read))
            kept, shared = self._nearest_kept(row)
            shared, alike = min(shared, limit), min(self._alike(row), limit)
            if alike >= shared + WORTH_SHARING and self.room > 0:
                known.alike[i] = alike
            elif kept is not None and shared >= WORTH_SHARING:
                known.kept[i] = (kept, shared)
        return known

    def _nearest_kept(self, row: Row) -> tuple[CachedPrefix | None, int]:
        place = bisect_left(self._kept, (row.ids,))
        near = [kept for _, _, kept in self._kept[max(place - 1, 0) : place + 1]]
        best = max(near, key=lambda kept: common(kept.ids, row.ids), default=None)
        return best, 0 if best is None else common(best.ids, row.ids)

    def _alike(self, row: Row) -> int:
        place = bisect_left(self._seen, row.ids)
        near = [ids for ids in self._seen[max(place - 1, 0) : place + 2] if ids != row.ids]
        return max((common(ids, row.ids) for ids in near), default=0)

    def keep(self, ids: tuple[int, ...], lines: Mapping[int, tuple[Tensor, Tensor]]) -> None:
        """Keep a beginning, if there is room."""
        kept = CachedPrefix(ids, lines)
        if kept.size <= self.room:
            self.room -= kept.size
            insort(self._kept, (ids, id(kept), kept))

    def note(self, rows: Sequence[Row]) -> None:
        """Remember which rows were scored."""
        for row in rows:
            place = bisect_left(self._seen, row.ids)
            if len(self._seen) < _REMEMBERED and self._seen[place : place + 1] != [row.ids]:
                self._seen.insert(place, row.ids)


def common(one: Sequence[int], other: Sequence[int]) -> int:
    """How many tokens two rows begin with alike.

    Example:
        >>> common((1, 2, 3), (1, 2, 4, 5)), common((1,), (1, 2))
        (2, 1)
    """
    return next(
        (i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other))
    )
