"""What an evaluation cost: seconds by part, and what the judges did in them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

__all__ = ["since", "timed"]


def since(before: Mapping[str, int], now: Mapping[str, int], seconds: float) -> Iterator[tuple[str, float]]:
    """What the judges did in these seconds, by `ScorerSet.spent`."""
    done = {name: count - before[name] for name, count in now.items()}
    if looked := done["kept"] + done["new"]:
        yield "cache_hits", done["kept"] / looked
    if done["tokens"]:
        yield "score_tokens", float(done["tokens"])
        yield "score_tokens_per_second", done["tokens"] / max(seconds, 1e-9)


@contextmanager
def timed(facts: dict[str, float], name: str) -> Iterator[None]:
    """Add the seconds that go by inside to a fact."""
    began = time.monotonic()
    try:
        yield
    finally:
        facts[name] += time.monotonic() - began
