"""What a curve says: a verdict, the best checkpoint, and what is seen beside them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias

from rm_monitor.types.points import Estimate

__all__ = ["COLLAPSE", "Best", "Signal", "State", "Verdict"]

COLLAPSE = 0.10  # a fall of more, for sure, is a collapse: as a share of the pool score

State: TypeAlias = Literal[
    "improving", "steady", "warned", "degraded", "recovered", "undecided", "unknown", "saturated"
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Best:
    """The checkpoint to use.

    Attributes:
        step: Its step.
        value: Its headline metric. The highest of several readings reads high.
        checkpoint: Where it lies on disk; None if nothing was saved.
        p_best: Probability that it is truly the best of the curve, in [0, 1].
        tied: Steps that may be the best as well, without its own, on disk or not: together they hold the
            truly best one in 95 % of runs. Of a best that is surely behind one that is not on disk: those
            on disk that it ties with.
        cost: What taking it costs at most against whichever is truly the best, as a share of the pool score.
        earliest: The first step of ``tied`` and its own that is on disk: the one with the least training.
        earliest_cost: What taking that one costs at most. All such bounds hold together in 95 % of runs.

    Example:
        >>> print(Best(step=8, value=Estimate(0.6, 0.5, 0.7, 64), checkpoint="out/best", tied=(4,)))
        step 8, 0.6 (0.5 to 0.7, 64 prompts), tied with 4: out/best
    """

    step: int
    value: Estimate
    checkpoint: str | None = None
    p_best: float = math.nan
    tied: tuple[int, ...] = ()
    cost: float = math.nan
    earliest: int | None = None
    earliest_cost: float = math.nan

    def __str__(self) -> str:
        chance = f", best with probability {self.p_best:.2f}" if math.isfinite(self.p_best) else ""
        tied = f", tied with {', '.join(map(str, self.tied))}" if self.tied else ""
        where = f": {self.checkpoint}" if self.checkpoint else ", not on disk"
        return f"step {self.step}, {self.value}{chance}{tied}{where}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """Something seen beside the headline; a reason to read answers, never a state of its own.

    Attributes:
        name: ``divergence`` (the judge sees a rise, a second one a fall) | ``second_opinion`` (a second one
            sees a fall, the judge none) | ``training_reward`` (it rises while the headline falls) |
            ``same_reward_model`` (the judge is what is optimised) | ``length_explains`` |
            ``not_confirmed`` (a warning, by fresh prompts) | ``duplicates`` (most prompts get an answer that
            others get too) | ``truncated`` with nothing in ``against`` (many are cut off) | a text
            metric that moved: ``length``, ``truncated``, ``repetition`` ...
        about: The scorer, log key or metric it is about; of ``same_reward_model``: what is the same.
        step: Where it is seen; None for what holds for the whole run.
        against: The earlier steps it is compared with.
        change: How much it moved since then, with its interval; for a text metric one that holds for
            all of them and all evaluations of the run together.
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
            the best: the paired interval reaches 0) | ``warned`` | ``degraded`` | ``recovered`` (an alarm
            ended, and the paired interval reaches 0) | ``undecided`` (too early, or lower than the best, but
            by no more than chance and ups and downs make) | ``unknown`` (the last evaluations failed) |
            ``saturated`` (the references are too weak to see a fall).
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
        visible_drop: Smallest fall that these prompts would usually show (80 %), as a share; infinite where
            no fall could be called; nan unknown.
        jitter: What checkpoints of this run are taken to differ by from one to the next, as a share of the
            pool score (a standard deviation); nan where it is not reckoned with.
        dip: Lower on these prompts than they explain, but within the run's own ups and downs: no state, and
            no reason to stop.
        alarm_in: At a dip: after how many further evaluations that read as this one does the alarm would be
            raised, up to 3; None: not by then.
        fresh_level: Level at which fresh prompts may confirm this warning; nan: there is nothing to settle.
        n: Prompts behind the last look.
        units: Independent units behind it: prompts, or clusters of them.
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
    jitter: float = math.nan
    dip: bool = False
    alarm_in: int | None = None
    fresh_level: float = math.nan
    n: int = 0
    units: int = 0
    looks: int = 0
    failed: int = 0
    states: tuple[tuple[int, State], ...] = ()
    flags: tuple[str, ...] = ()
    signals: tuple[Signal, ...] = ()

    @property
    def collapsed(self) -> bool:
        """Whether the fall is degraded by more than 10 points for sure: stop and look."""
        return self.state == "degraded" and self.drop is not None and self.drop.low > COLLAPSE

    def __str__(self) -> str:
        return self.reason or self.state
