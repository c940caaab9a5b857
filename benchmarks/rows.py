"""Rows of the tables: a measured number, its Monte-Carlo error, and what it must reach."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.simulation import Array


@dataclass(frozen=True, kw_only=True)
class Row:
    """One measured number.

    Attributes:
        what: In words.
        value: Measured.
        error: Its Monte-Carlo standard error.
        runs: Behind it.
        reach: What it must reach, in words; empty: only told.
        met: Whether it does, within nothing but rounding; None without a target.
    """

    what: str
    value: float
    error: float
    runs: int
    reach: str = ""
    met: bool | None = None


def share(what: str, hits: Sequence[bool] | Array, *, most: float = np.inf, least: float = -np.inf) -> Row:
    """A row for a share of runs."""
    x = np.asarray(hits, dtype=np.float64)
    p = float(x.mean())
    bounded = [f"at least {least:g}"] * bool(np.isfinite(least)) + [f"at most {most:g}"] * bool(
        np.isfinite(most)
    )
    met = least <= p <= most if bounded else None
    return Row(
        what=what,
        value=p,
        error=float(np.sqrt(p * (1 - p) / x.size)),
        runs=x.size,
        reach=", ".join(bounded),
        met=met,
    )


def average(what: str, values: Sequence[float] | Array, *, most: float = np.inf) -> Row:
    """A row for a mean over runs."""
    x = np.asarray(values, dtype=np.float64)
    x = x[np.isfinite(x)]
    if not x.size:
        return Row(what=what, value=np.nan, error=np.nan, runs=0)
    error = float(x.std(ddof=1) / np.sqrt(x.size)) if x.size > 1 else np.nan
    limit = np.isfinite(most)
    return Row(
        what=what,
        value=float(x.mean()),
        error=error,
        runs=x.size,
        reach=f"at most {most:g}" if limit else "",
        met=bool(x.mean() <= most) if limit else None,
    )


def mean_of(what: str, rows: Sequence[Row], *, most: float = np.inf) -> Row:
    """A row for the mean of rows that are independent of each other."""
    mean = float(np.mean([row.value for row in rows]))
    error = float(np.sqrt(np.sum([row.error**2 for row in rows])) / len(rows))
    limit = np.isfinite(most)
    return Row(
        what=what,
        value=mean,
        error=error,
        runs=sum(row.runs for row in rows),
        reach=f"at most {most:g}" if limit else "",
        met=bool(mean <= most) if limit else None,
    )
