"""Texts that are nearly the same: runs of words they share, found by MinHash and settled by counting.

MinHash (Broder 1997) keeps the smallest of each of many hashes of a text's shingles; texts that share a
band of them are candidates (locality-sensitive hashing), and the Jaccard index of their shingles decides.
"""

from __future__ import annotations

import re
import zlib

import numpy as np

__all__ = ["NearIndex", "alike", "shingles"]

SHINGLE = 3  # words in a row
ALIKE = 0.7  # share of shingles in common from which two texts ask the same

_WORD = re.compile(r"\w+")
_LONGEST = 20_000  # characters of a text that are looked at
_BANDS, _ROWS = 24, 3  # a pair at ALIKE is missed once in 2e4, as (1 - 0.7**3)**24
_PRIME = (1 << 31) - 1
_RNG = np.random.default_rng(20_240_613)
_A, _B = _RNG.integers(1, _PRIME, size=(2, _BANDS * _ROWS, 1), dtype=np.uint64)


def shingles(text: str) -> frozenset[int]:
    """Numbers of the runs of `SHINGLE` words of a text, in any case and punctuation; a shorter text is one.

    Example:
        >>> shingles("What is a tide?") == shingles("what IS a... tide"), len(shingles("What is a tide?"))
        (True, 2)
    """
    text = text[:_LONGEST].casefold()
    words = _WORD.findall(text) or text.split()
    runs = [words[i : i + SHINGLE] for i in range(max(1, len(words) - SHINGLE + 1))]
    return frozenset(zlib.crc32(" ".join(run).encode("utf-8", "surrogatepass")) for run in runs)


def alike(a: frozenset[int], b: frozenset[int]) -> float:
    """The Jaccard index of two sets of shingles, in [0, 1].

    Example:
        >>> alike(frozenset({1, 2}), frozenset({2, 3}))
        0.3333333333333333
    """
    return len(a & b) / len(a | b) if a or b else 1.0


class NearIndex:
    """Texts seen so far, and whether a further one is nearly one of them."""

    def __init__(self) -> None:
        self._seen: list[tuple[frozenset[int], str]] = []
        self._bands: dict[tuple[int, bytes], list[int]] = {}

    def find(self, text: str) -> list[str]:
        """Names of texts seen before that share `ALIKE` of its shingles, in the order they came."""
        mine = shingles(text)
        near = {i for band in self._of(mine) for i in self._bands.get(band, ())}
        return [self._seen[i][1] for i in sorted(near) if alike(mine, self._seen[i][0]) >= ALIKE]

    def add(self, text: str, name: str) -> None:
        """Remember a text by a name."""
        mine = shingles(text)
        for band in self._of(mine):
            self._bands.setdefault(band, []).append(len(self._seen))
        self._seen.append((mine, name))

    @staticmethod
    def _of(numbers: frozenset[int]) -> list[tuple[int, bytes]]:
        values = np.fromiter(numbers, dtype=np.uint64, count=len(numbers)) % _PRIME
        smallest = ((_A * values + _B) % _PRIME).min(axis=1).astype(np.uint32).reshape(_BANDS, _ROWS)
        return [(i, row.tobytes()) for i, row in enumerate(smallest)]
