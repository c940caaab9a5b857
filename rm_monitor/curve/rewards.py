"""What scorers returned, checked and compared with the references: rewards -> columns of a `Table`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from rm_monitor import stats
from rm_monitor.types import FloatArray, Noisy, Scale, Scores

__all__ = ["as_scores", "compare", "merge", "noise_of"]


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
