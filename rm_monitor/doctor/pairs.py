"""Labelled pairs of answers, and how often a reward model agrees with the labels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.special import logit

from rm_monitor import stats
from rm_monitor.curve import rewards
from rm_monitor.prompts.reading import read_row
from rm_monitor.prompts.rows import name_of, read_rows
from rm_monitor.types import (
    Calibrated,
    Completion,
    Estimate,
    FloatArray,
    Preferences,
    PreferenceScorer,
    Prompt,
    Scorer,
)

__all__ = ["Agreement", "Pair", "agreement", "fit_temperature", "load_pairs", "margins", "outcomes"]


@dataclass(frozen=True, slots=True)
class Pair:
    """Two answers to a prompt, one of which people prefer."""

    prompt: Prompt
    chosen: str
    rejected: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """How a reward model's preferences compare with people's.

    Attributes:
        name: Of the labelled pairs.
        rate: Share of pairs on which both agree, over those it could score, ties one half.
        longer_wins: The same, on the same pairs, for the rule that the longer answer is better: what a judge
            has to beat.
        prefers_longer: How often the reward model prefers the longer answer; people do in ``longer_wins``.
        pairs: How many there were.
        flags: In how many pairs an answer was flagged ``overflow``, ``special_text`` ...
        calibration: The temperature that these pairs ask for, and reliability before and after.
    """

    name: str
    rate: Estimate
    longer_wins: Estimate
    prefers_longer: Estimate
    pairs: int
    flags: Mapping[str, int]
    calibration: stats.Calibration


def agreement(scorer: Scorer | PreferenceScorer, pairs: Sequence[Pair], *, name: str = "") -> Agreement:
    """How often the scorer agrees with the labels, and how true its probabilities are."""
    margin, flags = _judged(scorer, pairs)
    ours = stats.outcome(margin)
    longer = np.sign([len(pair.chosen) - len(pair.rejected) for pair in pairs]).astype(np.float64)
    longer[np.isnan(ours)] = np.nan  # both rules on the same pairs
    return Agreement(
        name=name,
        rate=stats.rate(ours),
        longer_wins=stats.rate((longer + 1) / 2),
        prefers_longer=stats.rate(np.where(longer == 0, np.nan, np.where(longer > 0, ours, 1 - ours))),
        pairs=len(pairs),
        flags=flags,
        calibration=stats.fit_temperature(margin, stated=_stated(scorer)),
    )


def fit_temperature(scorer: Scorer | PreferenceScorer, pairs: Sequence[Pair]) -> stats.Calibration:
    """The temperature at which the scorer's probabilities are likeliest on labelled pairs.

    Pass its value on as ``load_scorer(..., temperature=...)``; of a preference model it only tells how true
    the probabilities are.
    """
    return stats.fit_temperature(margins(scorer, pairs), stated=_stated(scorer))


def margins(scorer: Scorer | PreferenceScorer, pairs: Sequence[Pair]) -> FloatArray:
    """``(n,)`` reward of the chosen answer minus the other's (a preference model's log-odds), 0 for a tie."""
    return _judged(scorer, pairs)[0]


def _judged(scorer: Scorer | PreferenceScorer, pairs: Sequence[Pair]) -> tuple[FloatArray, dict[str, int]]:
    """Margins, and how many pairs were flagged."""
    prompts = [pair.prompt for pair in pairs]
    chosen = [Completion(prompt_id=pair.prompt.id, text=pair.chosen) for pair in pairs]
    rejected = [Completion(prompt_id=pair.prompt.id, text=pair.rejected) for pair in pairs]
    if isinstance(scorer, PreferenceScorer):
        said = scorer.prefer(prompts, chosen, rejected)
        stated = said.probability if isinstance(said, Preferences) else said
        log_odds: FloatArray = logit(np.asarray(stated, dtype=np.float64))
        return np.clip(log_odds, -1e6, 1e6), {}
    scored = rewards.as_scores(
        scorer.score([*prompts, *prompts], [*chosen, *rejected]), 2 * len(pairs), scorer="the scorer"
    )
    either = {name: x[: len(pairs)] | x[len(pairs) :] for name, x in scored.flags.items()}
    better, worse = np.split(scored.reward, 2)
    margin = stats.settled(better, worse, noise=rewards.noise_of(scorer))
    return margin, {name: int(x.sum()) for name, x in either.items() if x.any()}


def outcomes(scorer: Scorer | PreferenceScorer, pairs: Sequence[Pair]) -> FloatArray:
    """``(n,)``: 1 where the chosen answer wins, 0.5 for a tie, 0 where it loses, nan unscored."""
    return stats.outcome(margins(scorer, pairs))


def _stated(scorer: Scorer | PreferenceScorer) -> float:
    told = scorer.temperature if isinstance(scorer, Calibrated) else None
    return 1.0 if told is None else told


def load_pairs(source: Any) -> list[Pair]:
    """Read labelled pairs from whatever `load_prompts` reads: a path, a dataset, a frame, a list of rows.

    Known layouts are those of docs/inputs.md that say which answer is preferred: TRL's and RewardBench's
    ``chosen`` and ``rejected`` (text or turns, the prompt possibly inside them), HH, UltraFeedback, Nectar,
    HelpSteer3, JudgeBench, Chatbot Arena, OpenAI's, LLMBar, PandaLM and others. Pairs that people saw no
    difference in, and pairs of equal answers, are left out.

    Raises:
        ValueError: If a row is in none of these layouts, or no pair is left.
    """
    pairs = [pair for pair in _pairs(source) if pair is not None and pair.chosen != pair.rejected]
    if not pairs:
        raise ValueError(f"{name_of(source)} has no labelled pairs")
    return pairs


def _pairs(source: Any) -> Iterator[Pair | None]:
    for number, row in enumerate(read_rows(source)):
        try:
            read = read_row(row.value, number + 1)
            if read.layout is None or read.layout.pair is None:
                raise KeyError("no layout of pairs")
            both = read.layout.pair(read.fields, read.prompt.messages)
        except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
            why = f" ({error})" if isinstance(error, ValueError) else ""
            columns = (
                sorted(map(str, row.value)) if isinstance(row.value, Mapping) else type(row.value).__name__
            )
            raise ValueError(
                f"{row.place} is not a labelled pair{why}: it needs `prompt`, `chosen` and `rejected`, or "
                f"the columns "
                f"of another layout of pairs (docs/inputs.md), got {columns}"
            ) from error
        name = read.prompt.id if read.has_id else str(number)
        yield both and Pair(replace(read.prompt, id=name), *both)
