"""A `Table` of one evaluation -> an `EvalPoint`.

Every metric is the mean over prompts of a per-completion value, averaged over samples inside the
prompt first. So one interval function serves all, and the change between two points is the same
function on a difference.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from rm_monitor.curve.metrics import METRICS, find, interval
from rm_monitor.text.escape import of_error
from rm_monitor.types import (
    BoolArray,
    Estimate,
    EvalPoint,
    FloatArray,
    Prompt,
    ReferenceSet,
    Status,
    Table,
)

__all__ = ["are_references", "clusters", "per_prompt", "point", "status_of", "summarise"]

MIN_COVERAGE = 0.95  # under this share of scored prompts a point is `partial`: shown, never best


def per_prompt(table: Table) -> Mapping[str, FloatArray]:
    """``(n,)`` means over the samples of each prompt; nan only where no sample is known."""

    def mean(x: FloatArray) -> FloatArray:
        known = ~np.isnan(x)
        count = known.sum(axis=1)
        total = np.where(known, x, 0.0).sum(axis=1)
        return np.where(count > 0, total / np.maximum(count, 1), np.nan)

    return {name: mean(array) for name, array in table.values.items()}  # plain: it is sent to other ranks


def summarise(
    values: Mapping[str, FloatArray], prompts: Sequence[Prompt], *, level: float = 0.95
) -> dict[str, Estimate]:
    """Every metric as a mean over prompts with its interval, and the headline ones for each tag."""
    labels = clusters(prompts)
    metrics = {name: interval(name)(x, level=level, clusters=labels) for name, x in values.items()}
    tags = sorted({tag for prompt in prompts for tag in prompt.tags})
    for tag in tags:
        rows = np.array([tag in prompt.tags for prompt in prompts])
        for name, metric in METRICS.items():
            if metric.tagged and name in values:
                part = labels[rows] if labels is not None else None
                metrics[f"{name}@{tag}"] = interval(name)(values[name][rows], level=level, clusters=part)
    return metrics


def clusters(prompts: Sequence[Prompt]) -> NDArray[np.str_] | None:
    """Cluster labels of the prompts, or None when every prompt stands alone."""
    if not any(prompt.cluster for prompt in prompts):
        return None
    return np.array([prompt.cluster or f"\0{prompt.id}" for prompt in prompts])


def status_of(headline: FloatArray | None, expected: BoolArray | None = None) -> tuple[Status, str]:
    """Whether ``(n,)`` values of the headline metric make a point that may be compared.

    Args:
        headline: Per-prompt values, nan where unscored.
        expected: Prompts that can be scored at all (their reference is); None: all.

    Example:
        >>> status_of(np.array([0.5] * 18 + [np.nan] * 2))
        ('partial', '18 of 20 prompts were scored')
    """
    if headline is None or np.isnan(headline).all():
        return "failed", "no completion could be scored"
    scored = int((~np.isnan(headline)).sum())
    possible = headline.size if expected is None else int(expected.sum())
    if scored < MIN_COVERAGE * possible:
        return "partial", f"{scored} of {possible} prompts were scored"
    return "ok", ""


def are_references(table: Table, references: ReferenceSet) -> bool:
    """Whether every answer is the reference it is compared with, as at step 0 without other references."""
    return all(
        answer.text == reference.text
        for row, reference in zip(table.completions, references.completions, strict=True)
        for answer in row
    )


def _by_definition(name: str, e: Estimate) -> Estimate:
    """Answers against themselves: nothing was estimated, so nothing is uncertain."""
    is_even = find(name).even_at_half and abs(e.value - 0.5) < 1e-9
    return Estimate(0.5, math.nan, math.nan, e.n) if is_even else e


def point(
    step: int,
    table: Table | None,
    *,
    prompts: Sequence[Prompt],
    metric: str,
    expected: FloatArray | None = None,
    error: Exception | None = None,
    skipped: str = "",
    segment: str = "",
    attempt: int = 0,
    measured: Mapping[str, float] | None = None,
    weights: str = "",
    references: ReferenceSet | None = None,
) -> EvalPoint:
    """A measurement as a point on the curve; without a table, or with too few values, as a gap.

    Args:
        step: Optimizer step.
        table: What was measured; None if that failed.
        prompts: ``n`` prompts, in the table's order.
        metric: The headline: it decides whether the point counts.
        expected: ``(n,)``, nan for prompts whose reference has no score; None: all can be scored.
        error: Why there is no table.
        skipped: Why nothing was measured, on purpose.
        segment: Name of the segment.
        attempt: Number of the process.
        measured: Seconds, tokens and the like.
        weights: Name of the weights that answered; empty: unknown.
        references: What the answers were compared with. A point whose answers they are is at a half by
            definition, whatever the judge: its win probability and win rate have no interval (nan).
    """
    base = EvalPoint(
        step=step, segment=segment, measured=dict(measured or {}), attempt=attempt, weights=weights
    )
    if skipped:
        return replace(base, status="skipped", reason=skipped)
    if table is None:
        return replace(base, status="failed", reason="no reason known" if error is None else of_error(error))
    values = per_prompt(table)
    status, reason = status_of(values.get(metric), None if expected is None else ~np.isnan(expected))
    if status == "failed":
        return replace(base, status=status, reason=reason)
    metrics = summarise(values, prompts)
    if references is not None and are_references(table, references):
        metrics = {name: _by_definition(name, e) for name, e in metrics.items()}
    return replace(
        base,
        metrics=metrics,
        values=values,
        prompt_ids=table.prompt_ids,
        status=status,
        reason=reason,
    )
