"""Tells: what answers look like, apart from what a judge thinks of them.

They are always logged, and a person is told when one moves further than chance and further than matters. None
of them makes a run *degraded*: healthy training moves them too (rising diversity went with falling quality in
arXiv 2410.11677).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rm_monitor import stats
from rm_monitor.stats.spending import spent_by
from rm_monitor.types import Completion, EvalPoint, FloatArray, Signal

__all__ = ["above", "duplicates", "moved", "of_texts"]

ALPHA = 0.05  # of a run, for all tells and evaluations together

# A tell is worth a sentence beyond this change: absolute, or relative to the first point.
_ABSOLUTE = {
    "truncated": 0.05,
    "empty": 0.02,
    "repetition": 0.05,
    "distinct": 0.05,
    "duplicates": 0.05,
    "shared": 0.05,
    "top10_mass": 0.02,
    "above_references": 0.10,
}
_RELATIVE = {"length": 0.25, "entropy": 0.15}
_CONSTANT = 0.50  # share of answers that other prompts got too; of 56 models only gamed ones had over 0.03
_GRAM = 4


def of_texts(completions: Sequence[Sequence[Completion]]) -> dict[str, FloatArray]:
    """What the answers themselves tell, as ``(n, k)`` arrays.

    ``length`` in generated tokens (nan unknown) · ``characters`` · ``truncated`` cut off by the token limit ·
    ``empty`` · ``repetition`` 1 - distinct 4-grams / 4-grams of words · ``distinct`` distinct bigrams /
    bigrams of words · ``shared`` 4-grams that answers to other prompts hold too / 4-grams ·
    ``duplicates`` the same text answers another prompt too (a constant-answer policy has 1.0) ·
    ``entropy`` bits · ``top10_mass`` · ``kl`` nats a token to the initial policy (nan unknown).

    Example:
        >>> a, b = (Completion(prompt_id=i, text="Sorry, I can't.", n_tokens=5) for i in "ab")
        >>> tells = of_texts([[a], [b]])
        >>> float(tells["duplicates"].mean()), float(tells["length"].mean())
        (1.0, 5.0)
    """
    prompts_with = Counter(text for row in completions for text in {c.text.strip() for c in row})
    grams = [[_grams(c.text, _GRAM) for c in row] for row in completions]
    holders = Counter(gram for row in grams for gram in set().union(*row))

    def table(value: Callable[[Completion], float]) -> FloatArray:
        return np.array([[value(c) for c in row] for row in completions], dtype=np.float64)

    def share(found: list[tuple[str, ...]], counts: Callable[[tuple[str, ...]], bool]) -> float:
        return sum(map(counts, found)) / len(found) if found else 0.0

    return {
        "length": table(lambda c: c.n_tokens if c.n_tokens >= 0 else np.nan),
        "characters": table(lambda c: len(c.text)),
        "truncated": table(lambda c: np.nan if c.finish_reason == "unknown" else c.finish_reason == "length"),
        "empty": table(lambda c: not c.text.strip()),
        "repetition": np.array([[1.0 - len(set(g)) / len(g) if g else 0.0 for g in row] for row in grams]),
        "distinct": table(lambda c: _distinct_share(_grams(c.text, 2))),
        "shared": np.array([[share(g, lambda gram: holders[gram] > 1) for g in row] for row in grams]),
        "duplicates": table(lambda c: prompts_with[c.text.strip()] > 1),
        "entropy": table(lambda c: c.entropy),
        "top10_mass": table(lambda c: c.top10_mass),
        "kl": table(lambda c: c.kl),
    }


def duplicates(answers: Sequence[str]) -> float:
    """Share of answers, one a prompt, that another prompt has too.

    Example:
        >>> duplicates(["yes", "no", "yes", "it depends"])
        0.5
    """
    holders = Counter(text.strip() for text in answers)
    return sum(holders[text.strip()] > 1 for text in answers) / max(len(answers), 1)


def above(reward: FloatArray, references: FloatArray) -> FloatArray:
    """Whether each score is beyond all the references' scores: there a reward model extrapolates.

    Args:
        reward: ``(n, k)``.
        references: ``(n,)``.

    Example:
        >>> above(np.array([[1.0], [9.0], [np.nan]]), np.array([0.0, 2.0, 1.0])).ravel()
        array([ 0.,  1., nan])
    """
    if not np.isfinite(references).any():
        return np.full(reward.shape, np.nan)
    return np.where(np.isnan(reward), np.nan, (reward > np.nanmax(references)).astype(np.float64))


def moved(
    curve: Sequence[EvalPoint],
    *,
    usual: float = 0.0,
    horizon: int | None = None,
    alpha: float = ALPHA,
    clusters: NDArray[Any] | None = None,
) -> list[Signal]:
    """Tells of the last point that moved since the first one of its segment, prompt by prompt.

    Each look at each tell gets its part of ``alpha`` (Bonferroni over tells, the alarm's spending over
    looks), so that all intervals shown in a run hold together with probability ``1 - alpha``; and the change
    must be large enough to matter. A policy that gives most prompts an answer that others get too is named at
    once, whether or not it moved, unless such answers are usual here (yes or no).

    Args:
        curve: Points in order of step.
        usual: Share of duplicates among answers that are known to be good, such as given references.
        horizon: Evaluations the run will have; None: unknown.
        alpha: For all tells and looks of a run.
        clusters: ``(n,)`` labels of prompts that belong together.
    """
    points = [p for p in curve if p.values and p.status == "ok" and p.segment == curve[-1].segment]
    if not points or points[-1] is not curve[-1]:
        return []
    many = list(_constant(points[-1], usual))
    known = {s.name for s in many}
    return [*many, *(s for s in _moved(points, horizon, alpha, clusters) if s.name not in known)]


def _constant(point: EvalPoint, usual: float) -> Iterator[Signal]:
    share = point.metrics.get("duplicates")
    if share is not None and share.low > max(_CONSTANT, (1.0 + usual) / 2.0):
        yield Signal(
            name="duplicates", about="most answers", step=point.step, change=share, now=share.value, n=share.n
        )


def _moved(
    points: Sequence[EvalPoint], horizon: int | None, alpha: float, clusters: NDArray[Any] | None
) -> Iterator[Signal]:
    first, last, look = points[0], points[-1], len(points) - 1
    if look == 0:
        return
    watched = {**_ABSOLUTE, **_RELATIVE}
    spent = [spent_by(i, alpha=alpha / len(watched), horizon=horizon) for i in (look - 1, look)]
    for name, least in watched.items():
        a, b = first.values.get(name), last.values.get(name)
        if a is None or b is None or a.shape != b.shape:
            continue
        change = stats.paired_change(a, b, level=1.0 - (spent[1] - spent[0]), clusters=clusters)
        if name in _RELATIVE:
            least *= abs(first.metrics[name].value)
        if abs(change.value) >= least and (change.low > 0 or change.high < 0):
            yield Signal(
                name=name,
                about=name,
                step=last.step,
                against=(first.step,),
                change=change,
                before=first.metrics[name].value,
                now=last.metrics[name].value,
                n=change.n,
                false_alarms=alpha,
            )


def _grams(text: str, n: int) -> list[tuple[str, ...]]:
    words = text.split()
    return [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]


def _distinct_share(grams: list[tuple[str, ...]]) -> float:
    """Distinct n-grams / n-grams; 1 for a text too short to repeat itself."""
    return len(set(grams)) / len(grams) if grams else 1.0
