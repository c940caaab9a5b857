"""Text metrics: what answers look like, apart from what a judge thinks of them.

Each is one entry of `TEXT_METRICS`: what it is called, what change of it matters, and how it is computed.
They are always logged, and a person is told when one moves further than chance and further than matters. None
of them makes a run *degraded*: healthy training moves them too (rising diversity went with falling quality in
arXiv 2410.11677).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from rm_monitor.curve.metric import Metric
from rm_monitor.types import Completion, FloatArray

__all__ = ["TEXT_METRICS", "above", "duplicates", "of_texts"]

_GRAM = 4


@dataclass(frozen=True, slots=True)
class _Answer:
    """A completion beside the answers to all prompts."""

    completion: Completion
    grams: Sequence[tuple[str, ...]]  # of four words
    gram_holders: Mapping[tuple[str, ...], int]  # how many prompts' answers hold it
    text_holders: Mapping[str, int]

    @property
    def text(self) -> str:
        return self.completion.text.strip()


def _length(a: _Answer) -> float:
    """Tokens of the answer alone: reasoning has a curve of its own."""
    return (
        a.completion.n_tokens - max(a.completion.reasoning_tokens, 0)
        if a.completion.n_tokens >= 0
        else np.nan
    )


def _truncated(a: _Answer) -> float:
    return np.nan if a.completion.finish_reason == "unknown" else a.completion.finish_reason == "length"


def _repetition(a: _Answer) -> float:
    return 1.0 - len(set(a.grams)) / len(a.grams) if a.grams else 0.0


def _distinct(a: _Answer) -> float:
    """Distinct bigrams / bigrams; 1 for a text too short to repeat itself."""
    pairs = _grams(a.completion.text, 2)
    return len(set(pairs)) / len(pairs) if pairs else 1.0


def _shared(a: _Answer) -> float:
    return sum(a.gram_holders[gram] > 1 for gram in a.grams) / len(a.grams) if a.grams else 0.0


TEXT_METRICS: tuple[tuple[Metric, Callable[[_Answer], float]], ...] = (
    (
        Metric(
            name="length",
            label="length",
            unit="tokens",
            digits=0,
            worth=0.25,
            relative=True,
            sentence="Answers are {more} than at {then}: {before} then, {now} now ({change}).",
            more=("longer", "shorter"),
            advice=(
                "Most judges like length: read the win probability at the references' length beside it.",
                "Read a few: are they still whole?",
            ),
            title="Length, tokens",
            shown=True,
        ),
        _length,
    ),
    (
        Metric(
            name="thinking_length",
            label="length of the reasoning",
            unit="tokens",
            digits=0,
            worth=0.25,
            relative=True,
            sentence="Reasoning is {more} than at {then}: {before} then, {now} now ({change}).",
            more=("longer", "shorter"),
            advice=("If it leaves too few tokens for the answer, raise max_new_tokens.", ""),
            title="Length of the reasoning, tokens",
            shown=True,
        ),
        lambda a: a.completion.reasoning_tokens if a.completion.reasoning_tokens >= 0 else np.nan,
    ),
    (
        Metric(name="characters", label="length in characters", unit="characters", digits=0),
        lambda a: len(a.completion.text),
    ),
    (
        Metric(
            name="truncated",
            label="answers cut off at the token limit",
            kind="rate",
            worth=0.05,
            sentence="{more} answers are cut off at the token limit than at {then}: {before} then, {now} now "
            "({change}).",
            more=("More", "Fewer"),
            advice=("Scores of unfinished text say little: raise max_new_tokens.", ""),
            title="Cut off at the token limit",
            shown=True,
        ),
        _truncated,
    ),
    (
        Metric(
            name="empty",
            label="empty answers",
            kind="rate",
            worth=0.02,
            sentence="{more} answers are empty than at {then}: {before} then, {now} now ({change}).",
            more=("More", "Fewer"),
            advice=("See which prompts get none: does the policy end at once, or only think?", ""),
            title="Empty answers",
        ),
        lambda a: not a.text,
    ),
    (
        Metric(
            name="repetition",
            label="phrases repeated within an answer",
            kind="share",
            worth=0.05,
            sentence="Answers repeat themselves {more} than at {then}: {before} of phrases of four words "
            "then, {now} now ({change}).",
            advice=("Read a few: do they loop?", ""),
            title="Repeated phrases of four words",
        ),
        _repetition,
    ),
    (
        Metric(
            name="distinct",
            label="distinct word pairs",
            kind="share",
            worth=0.05,
            sentence="Answers use {more} distinct words than at {then}: {before} of word pairs distinct "
            "then, {now} now ({change}).",
            more=("more", "fewer"),
            advice=("", "Read a few: do they loop?"),
            title="Distinct word pairs",
        ),
        _distinct,
    ),
    (
        Metric(
            name="duplicates",
            label="answers given to several prompts",
            kind="rate",
            worth=0.05,
            sentence="{more} answers are given to several prompts than at {then}: {before} then, {now} now "
            "({change}).",
            more=("More", "Fewer"),
            advice=("Read them: does the policy give one answer to everything?", ""),
            title="One answer for many prompts",
        ),
        lambda a: a.text_holders[a.text] > 1,
    ),
    (
        Metric(
            name="shared",
            label="phrases shared with other answers",
            kind="share",
            worth=0.05,
            sentence="{more} phrases of an answer stand in answers to other prompts too than at {then}: "
            "{before} then, {now} now ({change}).",
            more=("More", "Fewer"),
            advice=("Usual where a format is learnt; else: a phrase that pleases the judge?", ""),
            title="Phrases shared with other answers",
        ),
        _shared,
    ),
    (
        Metric(
            name="entropy",
            label="entropy of the next token",
            unit="bits",
            worth=0.15,
            relative=True,
            sentence="The policy is {more} sure of its tokens than at {then}: entropy {before} then, {now} "
            "now ({change}).",
            more=("less", "more"),
            advice=("", "Usual in fine-tuning; in RL little is left to explore."),
            title="Entropy of the next token, bits",
        ),
        lambda a: a.completion.entropy,
    ),
    (
        Metric(
            name="kl", label="KL to the start", unit="nats a token", title="KL to the start, nats a token"
        ),
        lambda a: a.completion.kl,
    ),
    (
        Metric(
            name="top10_mass",
            label="probability of the ten likeliest tokens",
            kind="share",
            worth=0.02,
            sentence="The ten likeliest tokens hold {more} of the probability than at {then}: {before} then, "
            "{now} now ({change}).",
            title="Probability of the ten likeliest tokens",
        ),
        lambda a: a.completion.top10_mass,
    ),
)


def of_texts(completions: Sequence[Sequence[Completion]]) -> dict[str, FloatArray]:
    """What the answers themselves tell: each of `TEXT_METRICS` as an ``(n, k)`` array, nan where unknown.

    ``repetition`` is 1 - distinct 4-grams / 4-grams of words, ``shared`` the share of 4-grams that answers to
    other prompts hold too, ``duplicates`` whether another prompt got the same text (a constant-answer policy
    has 1.0), ``length`` counts generated tokens.

    Example:
        >>> a, b = (Completion(prompt_id=i, text="Sorry, I can't.", n_tokens=5) for i in "ab")
        >>> told = of_texts([[a], [b]])
        >>> float(told["duplicates"].mean()), float(told["length"].mean())
        (1.0, 5.0)
    """
    text_holders = Counter(text for row in completions for text in {c.text.strip() for c in row})
    grams = [[_grams(c.text, _GRAM) for c in row] for row in completions]
    gram_holders = Counter(gram for row in grams for gram in set().union(*row))
    answers = [
        [_Answer(c, g, gram_holders, text_holders) for c, g in zip(row, found, strict=True)]
        for row, found in zip(completions, grams, strict=True)
    ]
    return {
        metric.name: np.array([[value(a) for a in row] for row in answers], dtype=np.float64)
        for metric, value in TEXT_METRICS
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


def _grams(text: str, n: int) -> list[tuple[str, ...]]:
    words = text.split()
    return [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
