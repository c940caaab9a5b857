"""One evaluation as functions: completions and rewards -> a `Table` -> an `EvalPoint`.

Every metric is the mean over prompts of a per-completion value, averaged over samples inside the
prompt first. So one interval function serves all, and the change between two points is the same
function on a difference.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from rm_monitor import stats
from rm_monitor.text.escape import of_error
from rm_monitor.types import (
    BoolArray,
    Estimate,
    EvalPoint,
    FloatArray,
    Noisy,
    Prompt,
    Scale,
    Scores,
    Status,
    Table,
)

__all__ = [
    "as_scores",
    "base_name",
    "clusters",
    "compare",
    "merge",
    "noise_of",
    "per_prompt",
    "point",
    "status_of",
    "summarise",
]

MIN_COVERAGE = 0.95  # under this share of scored prompts a point is `partial`: shown, never best

# How each metric's interval is made; anything else is an unbounded mean (Student t).
_RATES = frozenset(
    {
        *("win_rate", "tie_rate", "truncated", "empty", "duplicates", "overflow", "special_text"),
        *("nonfinite", "unparsed", "above_references", "disagreement"),
    }
)
_SHARES = frozenset(
    {"win_prob", "lc_win_prob", "top10_mass", "repetition", "distinct", "shared", "order_gap"}
)
_TAGGED = ("win_prob", "win_rate", "reward")  # these get a curve for each tag


def base_name(metric: str) -> str:
    """The metric without scorer prefix, reference-set suffix or tag.

    Example:
        >>> base_name("gold/win_prob/sft@coding"), base_name("attribute/helpfulness")
        ('win_prob', 'attribute')
    """
    parts = metric.partition("@")[0].split("/")
    known = [p for p in parts if p in _RATES | _SHARES or p in ("reward", "margin", "attribute", "length")]
    return known[0] if known else parts[0]


def as_scores(scored: Scores | FloatArray | Sequence[float], n: int, *, scorer: str) -> Scores:
    """What a scorer returned, checked: ``n`` float64 rows, nan where it is not a finite number.

    Raises:
        ValueError: If it is not one number a completion.
    """
    scores = scored if isinstance(scored, Scores) else Scores(reward=np.asarray(scored, dtype=np.float64))
    reward = np.asarray(scores.reward, dtype=np.float64)
    if reward.shape != (n,):
        raise ValueError(
            f"{scorer} must return one score a completion, an array of shape ({n},); got shape {reward.shape}"
        )
    finite = np.isfinite(reward)
    flags = dict(scores.flags)
    if "nonfinite" in flags:  # the scorer tells what it left out (too long, forged) from what came out as nan
        flags["nonfinite"] = flags["nonfinite"] | np.isinf(reward)
    elif not finite.all():
        flags["nonfinite"] = ~finite
    return Scores(reward=np.where(finite, reward, np.nan), attributes=scores.attributes, flags=flags)


def compare(
    reward: FloatArray,
    reference: FloatArray,
    *,
    scale: Scale,
    temperature: float | None = None,
    noise: float = 0.0,
) -> dict[str, FloatArray]:
    """Completions against the references of their prompts.

    Args:
        reward: ``(n, k)`` rewards of the completions.
        reference: ``(n,)`` rewards of the references.
        scale: Only ``logit`` differences have a probability; others need a fitted ``temperature``.
        temperature: Divides the margin inside the sigmoid; None is 1 on a logit scale.
        noise: What the scorer measured that batches and padding do to a reward: smaller margins are ties.

    Returns:
        ``margin``, ``win_rate`` (1 win, 0.5 tie, 0 loss), ``tie_rate`` and, if the scale has one,
        ``win_prob``; each ``(n, k)``, nan where either side is unscored.
    """
    margin = stats.settled(reward, reference[:, None], noise=noise)
    outcome = stats.outcome(margin)
    values = {
        "margin": np.where(np.isnan(margin), np.nan, reward - reference[:, None]),
        "win_rate": outcome,
        "tie_rate": np.where(np.isnan(outcome), np.nan, (margin == 0).astype(np.float64)),
    }
    if scale == "logit" or temperature is not None:
        values["win_prob"] = stats.win_probability(margin, temperature=temperature or 1.0)
    return values


def noise_of(scorer: object) -> float:
    """What a scorer measured that batches and padding do to its rewards; 0 where it says nothing."""
    return float(scorer.noise) if isinstance(scorer, Noisy) else 0.0


def merge(
    values: dict[str, FloatArray], more: Mapping[str, FloatArray], prefix: str = "", suffix: str = ""
) -> None:
    """Add ``more`` under ``prefix/name/suffix``; an all-nan column is left out, for it says nothing."""
    for name, array in more.items():
        if not np.isnan(array).all():
            key = "/".join(part for part in (prefix, name, suffix) if part)
            values[key] = np.asarray(array, dtype=np.float64)


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
    metrics = {name: _estimate(name, x, labels, level) for name, x in values.items()}
    tags = sorted({tag for prompt in prompts for tag in prompt.tags})
    for tag in tags:
        rows = np.array([tag in prompt.tags for prompt in prompts])
        for name in _TAGGED:
            if name in values:
                part = labels[rows] if labels is not None else None
                metrics[f"{name}@{tag}"] = _estimate(name, values[name][rows], part, level)
    return metrics


def _estimate(name: str, x: FloatArray, labels: NDArray[np.str_] | None, level: float) -> Estimate:
    kind = base_name(name)
    interval = stats.rate if kind in _RATES else stats.share if kind in _SHARES else stats.mean
    return interval(x, level=level, clusters=labels)


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
    level: float = 0.95,
    stopped: str = "",
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
        level: Of every interval by itself: higher where the evaluation could have ended earlier.
        stopped: Why it ended before all prompts were answered; empty: it did not.
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
    if stopped:
        status, reason = "partial", stopped
    return replace(
        base,
        metrics=summarise(values, prompts, level=level),
        values=values,
        prompt_ids=table.prompt_ids,
        status=status,
        reason=reason,
    )
