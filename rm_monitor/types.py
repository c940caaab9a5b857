"""The nouns and the plug-in Protocols: the design on one screen.

A *prompt* is answered by a *completion*. A *scorer* gives a completion a *reward*; a *preference
scorer* gives a pair a probability. A *reference set* holds one fixed completion a prompt. One
*evaluation* is a `Table` of per-completion values, summarised as an `EvalPoint`: every number in it is a
mean over prompts with an interval and its ``n``. The points are the *curve*, and a `Verdict` says
what the curve says now.

Values are frozen. Unknown is ``nan``, never 0. This module imports numpy and nothing of ours.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Protocol, TypeAlias, TypedDict, runtime_checkable

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Best",
    "BoolArray",
    "Completion",
    "Estimate",
    "EvalPoint",
    "FinishReason",
    "FloatArray",
    "Generator",
    "Message",
    "PreferenceScorer",
    "Preferences",
    "Progress",
    "Prompt",
    "ReferenceSet",
    "Sampling",
    "Scale",
    "Scorer",
    "Scores",
    "Signal",
    "Sink",
    "State",
    "Status",
    "Table",
    "Update",
    "Verdict",
]

FloatArray: TypeAlias = NDArray[np.float64]
BoolArray: TypeAlias = NDArray[np.bool_]
FinishReason: TypeAlias = Literal["stop", "length", "unknown"]
Scale: TypeAlias = Literal["logit", "rating", "unit", "unknown"]
Status: TypeAlias = Literal["ok", "partial", "failed", "skipped", "pending"]
Tolerance: TypeAlias = float | Literal["jitter"]  # a share, or what the run itself shows
State: TypeAlias = Literal[
    "improving", "steady", "warned", "degraded", "recovered", "undecided", "unknown", "saturated"
]


# --------------------------------------------------------------------------- what is asked and answered


class Message(TypedDict):
    """One turn of a conversation, as in transformers."""

    role: str
    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """A conversation that ends where the model is to answer.

    Attributes:
        id: Stable across runs: the key of every cache and of every paired comparison.
        messages: The turns so far; the last one is not the assistant's.
        raw: The prompt came as plain text that is to be continued as it stands, without a chat template.
        tags: Names of the slices this prompt belongs to; each gets a curve of its own.
        cluster: Prompts that are not independent (turns of one conversation) share a cluster; empty: alone.

    Example:
        >>> Prompt(id="p1", messages=({"role": "user", "content": "Hello!"},)).text
        'Hello!'
    """

    id: str
    messages: tuple[Message, ...]
    raw: bool = False
    tags: tuple[str, ...] = ()
    cluster: str = ""

    @property
    def text(self) -> str:
        """The prompt as text: the content itself for one turn, else ``role: content`` lines."""
        if len(self.messages) == 1:
            return self.messages[0]["content"]
        return "\n\n".join(f"{m['role']}: {m['content']}" for m in self.messages)


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """An answer to a prompt: the checkpoint's, or a fixed reference's.

    Attributes:
        prompt_id: The prompt it answers.
        text: The answer without the policy's control tokens.
        sample: 0-based number of the sample among the answers to this prompt.
        finish_reason: ``stop`` the model ended it, ``length`` it was cut off, ``unknown``.
        n_tokens: Tokens generated, the end token included; -1 unknown.
        entropy: Mean over generated positions of the entropy of the ten likeliest next tokens,
            renormalised, in bits; nan unknown (arXiv 2410.11677, section 4).
        top10_mass: Mean over generated positions of the probability of the ten likeliest tokens, in
            [0, 1]; nan unknown.
        kl: Mean over generated positions of the divergence KL(policy || initial policy) of the next token,
            in nats; nan unknown.
        tokens: Ids generated, the end token included; only while an evaluation runs, then ``()``.
    """

    prompt_id: str
    text: str
    sample: int = 0
    finish_reason: FinishReason = "unknown"
    n_tokens: int = -1
    entropy: float = math.nan
    top10_mass: float = math.nan
    kl: float = math.nan
    tokens: tuple[int, ...] = field(default=(), repr=False, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceSet:
    """Fixed completions that others are compared with, one for each prompt, in prompt order."""

    name: str
    completions: tuple[Completion, ...]
    source: str = ""  # where they came from, in words: a column, a file, "the initial policy"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How completions are drawn. All of it is recorded, and a change starts a new segment.

    Attributes:
        temperature: 0 is greedy; else logits are divided by it.
        top_p: Nucleus: the smallest set of tokens with at least this probability, in (0, 1].
        max_new_tokens: Longest completion, in the policy's tokens.
        samples_per_prompt: Completions drawn for each prompt; averaged inside the prompt.

    Raises:
        ValueError: If a value is out of range.
    """

    temperature: float = 0.7
    top_p: float = 0.95
    max_new_tokens: int = 256
    samples_per_prompt: int = 1

    def __post_init__(self) -> None:
        if not (math.isfinite(self.temperature) and self.temperature >= 0):
            raise ValueError(f"`temperature` must be 0 (greedy) or more, got {self.temperature}")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"`top_p` is a probability in (0, 1], got {self.top_p}")
        if self.max_new_tokens < 1:
            raise ValueError(f"`max_new_tokens` must be at least 1, got {self.max_new_tokens}")
        if self.samples_per_prompt < 1:
            raise ValueError(f"`samples_per_prompt` must be at least 1, got {self.samples_per_prompt}")


# --------------------------------------------------------------------------- what a reward model says


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """Rewards of some completions, row by row. Higher is better, always (a cost is negated inside).

    Attributes:
        reward: ``(n,)``; nan where the completion could not be scored.
        attributes: Further scores of a multi-attribute model, each ``(n,)``, by name.
        flags: What was noticed, each ``(n,)`` of bool: ``overflow`` (longer than the reward model
            reads), ``special_text`` (control tokens in the text, neutralised), ``empty`` ...
    """

    reward: FloatArray
    attributes: Mapping[str, FloatArray] = field(default_factory=dict)
    flags: Mapping[str, BoolArray] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Preferences:
    """What a preference model says of some pairs, row by row.

    Attributes:
        probability: ``(n,)``, P(completion is better than the reference) in [0, 1], averaged over both
            orders; nan where no answer could be read.
        order_gap: ``(n,)``, how far the two orders disagree, in [0, 1]; nan unknown.
        measures: What else was noticed, each ``(n,)``, by metric name: ``unparsed`` (1 where a judge gave no
            clear verdict), ``disagreement`` of an ensemble ...
    """

    probability: FloatArray
    order_gap: FloatArray | None = None
    measures: Mapping[str, FloatArray] = field(default_factory=dict)


# --------------------------------------------------------------------------- what an evaluation gives


class Estimate(NamedTuple):
    """A mean over prompts with its interval.

    Attributes:
        value: The mean; nan when nothing was scored.
        low: Lower end of the 95 % interval; nan when unknown.
        high: Upper end.
        n: Prompts behind it, unscored ones left out.
    """

    value: float
    low: float
    high: float
    n: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """All that was measured at one evaluation: row i is prompt i, column j its sample j.

    Attributes:
        prompt_ids: ``n`` ids, in prompt order.
        completions: ``n`` tuples of ``k`` completions.
        values: Metric name -> ``(n, k)``; nan where unknown.
    """

    prompt_ids: tuple[str, ...]
    completions: tuple[tuple[Completion, ...], ...]
    values: Mapping[str, FloatArray]


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalPoint:
    """One step's numbers: a point on the curve.

    Attributes:
        step: Optimizer step.
        metrics: Name -> `Estimate`. Tags are suffixes (``win_prob@coding``); further scorers and
            reference sets as in the design (``gold/win_prob``, ``win_prob/sft``).
        status: ``ok``; ``partial`` (under 95 % of the prompts were scored: shown, never best, never an
            alarm); ``failed`` or ``skipped`` (no numbers: a gap in the curve); ``pending``
            (being judged in a second process; never on the curve).
        reason: Why the status is not ``ok``.
        checkpoint: Directory on disk that holds these weights; None if there is none (any more).
        segment: Points with the same segment may be compared: same prompts, references, reward model
            and sampling.
        values: Metric name -> ``(n,)``, per-prompt means over samples, in prompt order: what each metric
            is the mean of, kept so that two points can be compared prompt by prompt.
        prompt_ids: ``n`` ids, in the order of ``values``.
        measured: Plain measurements of this evaluation: ``seconds``, ``seconds_generate``,
            ``seconds_score``, ``tokens_per_second``, ``cache_hits`` ...
        attempt: 0-based number of the process that wrote it; a resumed run has a higher one.
        weights: Names the weights that answered (`rm_monitor.same_weights`): points of a segment with the
            same name hold the same numbers; empty: unknown.
    """

    step: int
    metrics: Mapping[str, Estimate] = field(default_factory=dict)
    status: Status = "ok"
    reason: str = ""
    checkpoint: str | None = None
    segment: str = ""
    values: Mapping[str, FloatArray] = field(default_factory=dict, repr=False, compare=False)
    prompt_ids: tuple[str, ...] = field(default=(), repr=False, compare=False)
    measured: Mapping[str, float] = field(default_factory=dict, compare=False)
    attempt: int = 0
    weights: str = field(default="", repr=False, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Best:
    """The checkpoint to use.

    Attributes:
        step: Its step.
        value: Its headline metric. The highest of several readings reads high.
        checkpoint: Where it lies on disk; None if nothing was saved.
        p_best: Probability that it is the best of the curve, in [0, 1] (bootstrap over prompts).
        tied: Steps that cannot be told from it, without its own.
    """

    step: int
    value: Estimate
    checkpoint: str | None = None
    p_best: float = math.nan
    tied: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """Something seen beside the headline; a reason to read answers, never a state of its own.

    Attributes:
        name: ``divergence`` (the judge sees a rise, a second one a fall) | ``second_opinion`` (a second one
            sees a fall, the judge none) | ``training_reward`` (it rises while the headline falls) |
            ``same_reward_model`` (the judge is what is optimised) | ``length_explains`` |
            ``not_confirmed`` (a warning, by fresh prompts) | ``duplicates`` (most prompts get an answer that
            others get too) | a tell that moved: ``length``, ``truncated``, ``repetition`` ...
        about: The scorer, log key or metric it is about; of ``same_reward_model``: what is the same.
        step: Where it is seen; None for what holds for the whole run.
        against: The earlier steps it is compared with.
        change: How much it moved since then, with its interval; for a tell one that holds for all tells and
            evaluations of the run together.
        drop: Of the test that fired, as in `Verdict`; None if none did.
        judge: How the headline metric moved between the same steps.
        before: Its value then.
        now: Its value at ``step``.
        order: Share of pairs of training-reward logs in which the later one is higher.
        n: Logs, prompts or answers behind it.
        false_alarms: Probability that a healthy run raises it once; nan for what is no test.
    """

    name: str
    about: str = ""
    step: int | None = None
    against: tuple[int, ...] = ()
    change: Estimate | None = None
    drop: Estimate | None = None
    judge: Estimate | None = None
    before: float = math.nan
    now: float = math.nan
    order: float = math.nan
    n: int = 0
    false_alarms: float = math.nan


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the curve says now.

    Attributes:
        state: ``improving`` (the last point is the best so far) | ``steady`` (not measurably worse than
            the best) | ``warned`` | ``degraded`` | ``recovered`` | ``undecided`` (too early) | ``unknown``
            (the last evaluations failed) | ``saturated`` (the references are too weak to see a fall).
        step: The last judged step; None before the first.
        reason: One sentence a person can act on.
        against: The earlier steps of the contrast that fired (one, or a window of them).
        drop: Of that contrast, as a share of the pool score: the measured fall, likely overstated at an
            alarm, and, as ``low``, the bound that holds for all bounds of the run together (nan once only
            hysteresis keeps the state); ``high`` is nan. Confirmed by fresh prompts: their estimate.
        p: Adjusted for every look and every contrast of the run; nan before the second evaluation.
        since: Step of the alarm that began the present ``warned`` or ``degraded`` state.
        ended: Step at which the last degraded state ended.
        consecutive: Evaluations in a row that raised the alarm, this one included.
        change: Headline metric at `step` minus at the best step, paired by prompt.
        gain: Headline metric at `step` minus at the first step, paired by prompt.
        value: Headline metric at `step`.
        best: The best step so far, whether or not it lies on disk.
        false_alarms: Probability that a healthy run raises the alarm once.
        visible_drop: Smallest fall that these prompts would usually show (80 %), as a share; nan unknown.
        fresh_level: Level at which fresh prompts may confirm this warning; nan: there is nothing to settle.
        n: Prompts behind the last look.
        looks: Evaluations judged.
        failed: Evaluations in a row that gave no number.
        states: Each judged step of the segment with the state that was reached there.
        flags: What else was noticed, as names: ``divergence``, ``training_reward``, ``length`` ...
        signals: The same with its figures.
    """

    state: State = "undecided"
    step: int | None = None
    reason: str = ""
    against: tuple[int, ...] = ()
    drop: Estimate | None = None
    p: float = math.nan
    since: int | None = None
    ended: int | None = None
    consecutive: int = 0
    change: Estimate | None = None
    gain: Estimate | None = None
    value: Estimate | None = None
    best: Best | None = None
    false_alarms: float = 0.05
    visible_drop: float = math.nan
    fresh_level: float = math.nan
    n: int = 0
    looks: int = 0
    failed: int = 0
    states: tuple[tuple[int, State], ...] = ()
    flags: tuple[str, ...] = ()
    signals: tuple[Signal, ...] = ()

    def __str__(self) -> str:
        return self.reason or self.state


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """What a sink is shown after an evaluation.

    Attributes:
        point: The new point.
        verdict: What the curve says now.
        best: The best checkpoint; None if there is none yet.
        curve: Every point so far, in order of step, the new one included.
        metric: Name of the headline metric.
        changed: The verdict's state differs from the one before.
        news: Signals that were not there before.
        prompts: The prompts, in order.
        table: Completions and values of the new point; None when it failed.
        references: The first reference set; None for a pure reward curve.
        reference_rewards: ``(n,)`` rewards of those references; nan where unknown.
        output_dir: Where our files lie.
        report: Path of the page, when one was written.
        run: Facts about the run for people: ``prompts``, ``references``, ``reward_model``, ``every``.
    """

    point: EvalPoint
    verdict: Verdict
    best: Best | None
    curve: tuple[EvalPoint, ...]
    metric: str
    changed: bool = False
    news: tuple[Signal, ...] = ()
    prompts: tuple[Prompt, ...] = ()
    table: Table | None = None
    references: ReferenceSet | None = None
    reference_rewards: FloatArray | None = None
    output_dir: str = ""
    report: str | None = None
    run: Mapping[str, str] = field(default_factory=dict)


# --------------------------------------------------------------------------- what a user may plug in


class Progress(Protocol):
    """Told how far a long piece of work is."""

    def __call__(self, done: int, total: int) -> None:
        """``done`` of ``total`` pieces are finished."""


@runtime_checkable
class Scorer(Protocol):
    """A pointwise reward model: one score a completion."""

    @property
    def fingerprint(self) -> str:
        """Everything a score depends on: weights, template, dtype, longest input, versions."""

    @property
    def scale(self) -> Scale:
        """What a difference of two scores means; only ``logit`` differences have a probability."""

    def score(
        self, prompts: Sequence[Prompt], completions: Sequence[Completion]
    ) -> Scores | FloatArray | Sequence[float]:
        """Score row by row; a row that cannot be scored is nan.

        Args:
            prompts: ``n`` prompts.
            completions: ``n`` completions; row i answers prompt i.
        """


@runtime_checkable
class PreferenceScorer(Protocol):
    """A pairwise preference model: the probability that the completion beats the reference."""

    @property
    def fingerprint(self) -> str:
        """Everything an answer depends on."""

    def prefer(
        self, prompts: Sequence[Prompt], completions: Sequence[Completion], references: Sequence[Completion]
    ) -> Preferences | FloatArray | Sequence[float]:
        """Compare row by row; a row that cannot be compared is nan. All three have ``n`` rows."""


@runtime_checkable
class Generator(Protocol):
    """A way of answering prompts with the checkpoint as it stands."""

    def generate(
        self,
        prompts: Sequence[Prompt],
        sampling: Sampling,
        *,
        seed: int = 0,
        model: Any = None,
        tokenizer: Any = None,
        progress: Progress | None = None,
    ) -> list[Completion]:
        """Answer every prompt ``sampling.samples_per_prompt`` times.

        A completion depends on the weights, its prompt, ``sampling`` and ``(seed, prompt id, sample)``, not
        on its neighbours, on batch sizes or on any global random state.

        Returns:
            ``n * k`` completions, prompt by prompt: prompt 0 sample 0, prompt 0 sample 1, ...
        """


@runtime_checkable
class Sink(Protocol):
    """A place where evaluations are shown."""

    def show(self, update: Update) -> None:
        """Show one evaluation. Whatever it raises is reported and never stops training."""
