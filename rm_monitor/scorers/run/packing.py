"""Rows laid one after the other into one: no padding, and what rows begin with alike lies there once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from rm_monitor.scorers.run.batching import Row
from rm_monitor.scorers.run.prefix_cache import WORTH_SHARING, CachedPrefix, Hits, common

__all__ = ["Alike", "Branch", "Group", "Pack", "groups", "lay_out", "packs"]


class Group(NamedTuple):
    """Rows that begin with the same ``shared`` tokens, computed once or kept; 0: a row of its own."""

    rows: tuple[int, ...]
    shared: int


@dataclass(frozen=True, slots=True)
class Alike:
    """``count`` rows of ``length`` tokens, each seeing itself alone."""

    count: int
    length: int


@dataclass(frozen=True, slots=True)
class Branch:
    """The rest of a row whose first tokens lie elsewhere.

    Attributes:
        trunk: Where the shared tokens begin in the line.
        shared: How many they are.
        begin: Where the rest begins in the line.
        length: How long it is.
        mask: ``(length, shared + length)`` bool: what each token sees.
    """

    trunk: int
    shared: int
    begin: int
    length: int
    mask: Tensor


@dataclass(frozen=True, slots=True)
class Pack:
    """Rows in one long row.

    What attends sees a line: what is kept of earlier scorings, then the tokens of the pack.

    Attributes:
        ids: ``(1, tokens)`` int64.
        positions: ``(1, tokens)`` int64: of each token in its own row.
        types: ``(1, tokens)`` int64, or None.
        parts: Who sees whom, in the order in which they lie.
        read: ``(rows * reads,)`` int64: which tokens are read.
        seen: ``(rows * reads, longest)`` int64: what each of those sees of the line, filled up with any.
        unseen: ``(rows * reads, 1, 1, longest)`` bool: what is only filled up.
        rows: How many rows.
        kept: What the line begins with: prefixes, and how many tokens of each.
        before: How many tokens that is.
        fresh: PrefixCache that may be kept: where they begin in the pack, and their tokens.
    """

    ids: Tensor
    positions: Tensor
    types: Tensor | None
    parts: tuple[Alike | Branch, ...]
    read: Tensor
    seen: Tensor
    unseen: Tensor
    rows: int
    kept: tuple[tuple[CachedPrefix, int], ...] = ()
    before: int = 0
    fresh: tuple[tuple[int, tuple[int, ...]], ...] = ()


def groups(rows: Sequence[Row], *, budget: int, among: Iterable[int] | None = None) -> list[Group]:
    """Rows that begin alike, together while that saves tokens and fits into the budget.

    Args:
        rows: All rows.
        budget: Tokens of a group.
        among: Numbers of those that are wanted; None: all.

    A row is never all of it shared: its last token sees what no other row's does.

    Example:
        >>> prompt = tuple(range(20))
        >>> groups([Row((*prompt, 1)), Row((7, 8)), Row((*prompt, 2, 3))], budget=100)
        [Group(rows=(1,), shared=0), Group(rows=(0, 2), shared=20)]
    """
    found: list[Group] = []
    size = 0  # tokens of the last group
    for i in sorted(range(len(rows)) if among is None else among, key=lambda i: rows[i].ids):
        ids = rows[i].ids
        if found:
            members, shared = found[-1]
            alike = common(rows[members[-1]].ids, ids)
            shared_now = min(alike, shared or alike, *(len(rows[j].ids) - 1 for j in (members[-1], i)))
            saved, saved_now = (len(members) - 1) * shared, len(members) * shared_now
            size_now = size + len(ids) + saved - saved_now
            if shared_now >= WORTH_SHARING and saved_now > saved and size_now <= budget:
                found[-1], size = Group((*members, i), shared_now), size_now
                continue
        found.append(Group((i,), 0))
        size = len(ids)
    return sorted(found, key=lambda group: len(rows[group.rows[0]].ids))


def packs(rows: Sequence[Row], *, budget: int, share: bool, known: Hits | None = None) -> list[list[Group]]:
    """Groups that are computed together: the longest first, within the token budget.

    A row longer than the budget is computed alone.

    Args:
        rows: At least one.
        budget: Tokens a forward.
        share: Whether rows may share what they begin with: only where a token sees none behind it.
        known: What is kept of their prefixes, or worth keeping.

    Example:
        >>> packs([Row((1, 2)), Row((3,) * 5), Row((4,) * 3)], budget=5, share=False)
        [[Group(rows=(1,), shared=0)], [Group(rows=(2,), shared=0), Group(rows=(0,), shared=0)]]
    """
    known = known or Hits()
    every = [Group((i,), 0) for i in range(len(rows))]
    if share:
        new = groups(rows, budget=budget, among=[i for i in range(len(rows)) if i not in known.kept])
        alone = [Group(g.rows, g.shared or known.alike.get(g.rows[0], 0)) for g in new]
        every = [*alone, *(Group((i,), shared) for i, (_, shared) in known.kept.items())]
    planned: list[list[Group]] = []
    room = 0
    for group in sorted(every, key=lambda group: -len(rows[group.rows[0]].ids)):
        trunk = 0 if group.rows[0] in known.kept else group.shared
        size = trunk + sum(len(rows[i].ids) - group.shared for i in group.rows)
        if size > room:
            planned.append([])
            room = max(budget, size)
        planned[-1].append(group)
        room -= size
    return planned


def lay_out(
    rows: Sequence[Row],
    together: Iterable[Group],
    *,
    causal: bool,
    reads: tuple[int, ...] | None,
    device: torch.device,
    known: Hits | None = None,
) -> Pack:
    """Groups laid one after the other.

    Args:
        rows: All rows.
        together: Groups of row numbers; results come in their order.
        causal: Whether a token sees only those before it.
        reads: The positions that are read of every row; None: as each row says.
        device: Where the pack goes.
        known: What is kept of their prefixes.
    """
    together = list(together)
    kept = [(known or Hits()).kept.get(members[0]) for members, _ in together]
    before = sum(one[1] for one in kept if one)
    fresh: list[tuple[int, tuple[int, ...]]] = []
    placed = 0  # tokens of the kept prefixes so far
    ids: list[int] = []
    positions: list[int] = []
    types: list[int] = []
    parts: list[Alike | Branch] = []
    read: list[int] = []
    seen: list[list[int]] = []
    count = 0
    for (members, shared), beginning in zip(together, kept, strict=True):
        trunk = before + len(ids)
        if beginning:
            trunk, placed = placed, placed + shared
        elif shared:
            fresh.append((len(ids), rows[members[0]].ids[:shared]))
            ids += rows[members[0]].ids[:shared]
            positions += range(shared)
            parts.append(Alike(1, shared))
        for i in members:
            row, begin = rows[i], before + len(ids)
            length = len(row.ids) - shared
            ids += row.ids[shared:]
            types += row.types or ()
            positions += range(shared, len(row.ids))
            where = [*range(trunk, trunk + shared), *range(begin, begin + length)]
            for position in row.read if reads is None else reads:
                read.append(where[position] - before)
                seen.append(where[: position + 1] if causal else where)
            last = parts[-1] if parts else None
            if shared:
                mask = torch.ones(length, shared + length, dtype=torch.bool, device=device).tril(shared)
                parts.append(Branch(trunk, shared, begin, length, mask))
            elif isinstance(last, Alike) and last.length == length:
                parts[-1] = Alike(last.count + 1, length)
            else:
                parts.append(Alike(1, length))
            count += 1
    longest = max(map(len, seen))
    return Pack(
        ids=torch.tensor([ids], device=device),
        positions=torch.tensor([positions], device=device),
        types=torch.tensor([types], device=device) if types else None,
        parts=tuple(parts),
        read=torch.tensor(read, device=device),
        seen=torch.tensor([line + [0] * (longest - len(line)) for line in seen], device=device),
        unseen=torch.tensor(
            [[[[False] * len(line) + [True] * (longest - len(line))]] for line in seen], device=device
        ),
        rows=count,
        kept=tuple(one for one in kept if one),
        before=before,
        fresh=tuple(fresh),
    )
