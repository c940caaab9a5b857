"""Labelled pairs of answers, and how often a reward model agrees with the labels."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import logit

from rm_monitor import stats
from rm_monitor.curve import rewards
from rm_monitor.types import (
    Calibrated,
    Completion,
    Estimate,
    FloatArray,
    Message,
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


def load_pairs(path: str | Path) -> list[Pair]:
    """Read labelled pairs from a JSON or JSONL file, gzipped or not.

    Known layouts: ``prompt``, ``chosen``, ``rejected`` (text or message lists, the prompt possibly inside
    them, as TRL and RewardBench have it); LLMBar's ``input``, ``output_1``, ``output_2``, ``label``;
    PandaLM's ``instruction``, ``input``, ``response1``, ``response2`` and three annotators, of whom two
    must agree on a winner.

    Raises:
        ValueError: If a row is in none of these layouts, or no pair is left.
    """
    path = Path(path)
    raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    pairs = []
    for number, row in enumerate(_rows(raw.decode("utf-8"))):
        try:
            pair = _pair(row, number)
        except (KeyError, TypeError, IndexError, AttributeError) as error:
            raise ValueError(
                f"row {number} of {path} is not a labelled pair: it needs `prompt`, `chosen` and "
                "`rejected` (or LLMBar's "
                f"or PandaLM's columns), got {sorted(row) if isinstance(row, dict) else type(row).__name__}"
            ) from error
        if pair is not None:
            pairs.append(pair)
    if not pairs:
        raise ValueError(f"{path} has no labelled pairs")
    return pairs


def _rows(text: str) -> Iterator[Any]:
    if text.lstrip().startswith("["):
        yield from json.loads(text)
    else:
        yield from (json.loads(line) for line in text.splitlines() if line.strip())


def _pair(row: Mapping[str, Any], number: int) -> Pair | None:
    """The pair of a row; None where people saw no difference."""
    name = str(row.get("id", row.get("idx", number)))
    if "output_1" in row:
        first, second = row["output_1"], row["output_2"]
        return _labelled(name, _user(row["input"]), first, second, int(row["label"]))
    if "response1" in row:
        votes = Counter(int(row[f"annotator{i}"]) for i in (1, 2, 3))
        label, count = votes.most_common(1)[0]
        asked = _user("\n".join(part for part in (row["instruction"], row["input"]) if part))
        if count < 2 or label == 0:
            return None
        return _labelled(name, asked, row["response1"], row["response2"], label)
    if isinstance(row["chosen"], str):
        asked = row["prompt"] if isinstance(row["prompt"], list) else _user(row["prompt"])
        return _labelled(name, asked, row["chosen"], row["rejected"], 1)
    turns = row["chosen"]
    asked = row.get("prompt") or turns[:-1]
    asked = _user(asked) if isinstance(asked, str) else asked
    return _labelled(name, asked, turns[-1]["content"], row["rejected"][-1]["content"], 1)


def _user(text: str) -> list[Message]:
    return [{"role": "user", "content": str(text)}]


def _labelled(name: str, asked: Sequence[Message], first: str, second: str, label: int) -> Pair:
    if not all(isinstance(text, (str, int, float)) for text in (first, second)):
        raise TypeError("an answer is text")
    chosen, rejected = (str(first), str(second)) if label == 1 else (str(second), str(first))
    messages: list[Message] = [{"role": m["role"], "content": m["content"]} for m in asked]
    return Pair(Prompt(id=name, messages=tuple(messages)), chosen, rejected)
