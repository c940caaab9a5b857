"""What is checked of a reward model, one check a function: each gives findings."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from rm_monitor import stats
from rm_monitor.curve import rewards
from rm_monitor.doctor.pairs import Agreement, outcomes
from rm_monitor.doctor.probes import PROBES
from rm_monitor.scorers.describe import Description, unread
from rm_monitor.types import (
    Completion,
    Describes,
    FloatArray,
    Preferences,
    PreferenceScorer,
    Prompt,
    Renders,
    Scorer,
    ScoresAlone,
    Weighs,
)

__all__ = ["CHECKS", "Finding", "Level", "check_agreement"]

Level = Literal["fine", "look", "bad"]
Judge = Scorer | PreferenceScorer

RANKED = 0.6  # below this share of the probes, kind or template are probably wrong
NOISE = 0.05  # of the spread of scores: more than bfloat16 was measured to give
SECONDS = 2.0  # of scoring for the throughput


class Finding(NamedTuple):
    """One line of the report."""

    level: Level
    text: str


def check_input(scorer: Judge) -> Iterator[Finding]:
    """The beginning and the end of the input."""
    described = scorer.describe() if isinstance(scorer, Describes) else None
    if not isinstance(described, Description):
        return
    shown = described.input
    if shown.bos > 1:
        yield Finding(
            "bad", f"inputs begin with {shown.bos} beginning-of-sequence tokens; there should be one"
        )
    elif shown.bos < shown.expected_bos:
        yield Finding(
            "look",
            "inputs have no beginning-of-sequence token though the tokenizer puts one before plain "
            "text: right if it was "
            "trained so, else `bos='one'`",
        )
    if not shown.closed:
        yield Finding(
            "look", f"inputs do not end where the answer ends: {' '.join(shown.tail)!r} are their last tokens"
        )


def check_probes(scorer: Judge) -> Iterator[Finding]:
    """Plainly good answers must rank above plainly bad ones."""
    found = outcomes(scorer, PROBES)
    scored = np.isfinite(found)
    if not scored.all():
        yield Finding("bad", f"{(~scored).sum()} of {len(PROBES)} short probes got no score")
    if not scored.any():
        return
    right, share = found[scored].sum(), found[scored].mean()
    text = f"{right:g} of {scored.sum()} plainly good answers rank above plainly bad ones"
    if share < 1 - RANKED:
        yield Finding("look", f"{text}: is the sign or the label reversed? (`index=`, `kind=`)")
    elif share < RANKED:
        yield Finding("look", f"{text}, which is chance: check kind, template and `index`")
    else:
        yield Finding("fine", text)


def check_spread(scorer: Judge) -> Iterator[Finding]:
    """Scores must differ, and look like the scale they are said to be on."""
    if isinstance(scorer, PreferenceScorer):
        return
    reward = _probe_rewards(scorer)
    spread = float(np.nanstd(reward)) if np.isfinite(reward).any() else 0.0
    if not stats.settled(np.fmax.reduce(reward), np.fmin.reduce(reward)) > 0:
        yield Finding("bad", f"all answers score the same (spread {spread:.2g}): the model has collapsed")
    elif scorer.scale == "logit" and np.nanmin(reward) >= 0 and np.nanmax(reward) <= 1:
        yield Finding(
            "look", "all scores lie in [0, 1], as if a sigmoid had been applied; a logit was expected"
        )
    else:
        low, high = np.nanmin(reward), np.nanmax(reward)
        yield Finding("fine", f"scores of the probes spread by {spread:.3g}, from {low:.3g} to {high:.3g}")


def check_repeats(scorer: Judge) -> Iterator[Finding]:
    """The same input must give the same score, alone, twice and beside others."""
    if isinstance(scorer, PreferenceScorer):
        return
    prompts, completions = _rows()
    first, second = _probe_rewards(scorer), _probe_rewards(scorer)
    twice = np.asarray(
        rewards.as_scores(scorer.score(prompts[:1] * 2, completions[:1] * 2), 2, scorer="it").reward
    )
    if not np.array_equal(first, second, equal_nan=True):
        yield Finding("look", f"scoring twice differs by up to {np.nanmax(np.abs(first - second)):.2g}")
    if twice[0] != twice[1] and np.isfinite(twice).all():
        yield Finding(
            "look", "two equal answers in one batch score differently: a self-comparison is not a tie"
        )
    if not isinstance(scorer, ScoresAlone):
        return
    alone = rewards.as_scores(scorer.score_alone(prompts, completions), len(first), scorer="it").reward
    noise = float(np.nanmax(np.abs(alone - first), initial=0.0))
    spread = float(np.nanstd(first)) or 1.0
    text = f"batches and padding change a score by at most {noise:.2g} ({noise / spread:.2%} of the spread)"
    yield Finding("look" if noise > NOISE * spread else "fine", text)


def check_orders(scorer: Judge) -> Iterator[Finding]:
    """A pairwise model must say of (b, a) the contrary of (a, b), and nothing of (a, a)."""
    if not isinstance(scorer, PreferenceScorer):
        return
    prompts = [pair.prompt for pair in PROBES]
    good = [Completion(prompt_id=pair.prompt.id, text=pair.chosen) for pair in PROBES]
    bad = [Completion(prompt_id=pair.prompt.id, text=pair.rejected) for pair in PROBES]
    there, back = _probability(scorer, prompts, good, bad), _probability(scorer, prompts, bad, good)
    self_comparison = _probability(scorer, prompts, good, good)
    if not np.allclose(self_comparison, 0.5, atol=1e-6, equal_nan=True):
        yield Finding("bad", "an answer compared with itself does not come out at one half")
    worst = float(np.nanmax(np.abs(there + back - 1), initial=0.0))
    text = f"swapping the sides turns the probability round to within {worst:.2g}"
    yield Finding("look" if worst > 1e-3 else "fine", text)
    said = scorer.prefer(prompts, good, bad)
    if isinstance(said, Preferences) and said.order_gap is not None:
        mean = float(np.nanmean(said.order_gap))
        text = f"the two orders disagree by {mean:.2f} on average (position bias)"
        yield Finding("look" if mean > 0.3 else "fine", text)


def check_turns(scorer: Judge) -> Iterator[Finding]:
    """A system turn and earlier turns must reach the model, or its user must know that they do not."""
    if not isinstance(scorer, Renders):
        return
    found = unread(scorer.formatter, answers=2 if isinstance(scorer, PreferenceScorer) else 1)
    for sentence in found:
        yield Finding("look", sentence)
    if not found:
        yield Finding("fine", "system turns and earlier turns are read")


def check_forgery(scorer: Judge) -> Iterator[Finding]:
    """An answer that spells control tokens must not change the structure of the input."""
    if not isinstance(scorer, Renders):
        return
    formatter = scorer.formatter
    pair, answers = PROBES[0], 2 if isinstance(scorer, PreferenceScorer) else 1
    names = [token for token in formatter.tokenizer.all_special_tokens if token]
    forged = [formatter.render(pair.prompt, *[f"Paris.{name} Perfect!"] * answers) for name in names]
    plain = formatter.control.count(formatter.render(pair.prompt, *["x"] * answers).ids)
    through = [
        name
        for name, one in zip(names, forged, strict=True)
        if one.usable and formatter.control.count(one.ids) != plain and name != formatter.tokenizer.unk_token
    ]
    if through:
        yield Finding("bad", f"an answer can write the control token {through[0]}")
    else:
        yield Finding("fine", f"an answer cannot write any of the {len(names)} control tokens")


def check_speed(scorer: Judge, clock: Callable[[], float] = time.perf_counter) -> Iterator[Finding]:
    """How fast it is and how much memory it takes, on the probes."""
    prompts, completions = _rows()
    run: Callable[[], Any]
    if isinstance(scorer, PreferenceScorer):
        half = len(PROBES)
        run = lambda: scorer.prefer(prompts[:half], completions[:half], completions[half:])  # noqa: E731
        rows = half
    else:
        run = lambda: scorer.score(prompts, completions)  # noqa: E731
        rows = len(completions)
    rounds, began = 0, clock()
    while rounds == 0 or clock() - began < SECONDS:
        run()
        rounds += 1
    seconds = max(clock() - began, 1e-9)
    text = f"{rows * rounds / seconds:.3g} {'pairs' if isinstance(scorer, PreferenceScorer) else 'answers'}/s"
    if isinstance(scorer, Renders) and not isinstance(scorer, PreferenceScorer):
        rendered = [scorer.formatter.render(p, c.text) for p, c in zip(prompts, completions, strict=True)]
        tokens = sum(len(one.ids) for one in rendered)
        text += f", {tokens * rounds / seconds:.3g} tokens/s"
    if isinstance(scorer, Weighs):
        text += f", {scorer.memory / 2**20:,.0f} MiB of weights"
    yield Finding("fine", text)


def check_agreement(found: Agreement) -> Iterator[Finding]:
    """A judge must know more of people's choices than a coin and than a ruler do."""
    ours, longer = found.rate, found.longer_wins
    where = f"on {found.name}" if found.name else "on the labelled pairs"
    if not np.isfinite(ours.value):
        yield Finding("bad", f"{where} nothing could be scored")
    elif ours.high < 0.5:
        yield Finding("look", f"{where} it contradicts people: is the sign or the label reversed?")
    elif ours.low <= 0.5:
        yield Finding("look", f"{where} it may be no better than a coin: {ours.value:.3f} of {ours.n}")
    elif ours.value < longer.value:
        yield Finding(
            "look",
            f'{where} "the longer answer wins" agrees with people more often than it does: '
            f"{longer.value:.3f}, it {ours.value:.3f}",
        )
    else:
        yield Finding("fine", f"{where} it agrees with people more often than a coin or a ruler")


CHECKS: Sequence[Callable[[Judge], Iterator[Finding]]] = (
    check_input,
    check_turns,
    check_probes,
    check_spread,
    check_repeats,
    check_orders,
    check_forgery,
    check_speed,
)


def _rows() -> tuple[list[Prompt], list[Completion]]:
    """Every probe's good answer, then every bad one."""
    prompts = [pair.prompt for pair in PROBES]
    texts = [*(pair.chosen for pair in PROBES), *(pair.rejected for pair in PROBES)]
    prompts = prompts * 2
    return prompts, [Completion(prompt_id=p.id, text=t) for p, t in zip(prompts, texts, strict=True)]


def _probe_rewards(scorer: Scorer) -> FloatArray:
    prompts, completions = _rows()
    scored = scorer.score(prompts, completions)
    return rewards.as_scores(scored, len(completions), scorer="the scorer").reward


def _probability(
    scorer: PreferenceScorer, prompts: list[Prompt], left: list[Completion], right: list[Completion]
) -> FloatArray:
    said = scorer.prefer(prompts, left, right)
    return np.asarray(said.probability if isinstance(said, Preferences) else said, dtype=np.float64)
