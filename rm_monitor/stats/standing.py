"""Where a run stands after a row of looks: alarms with hysteresis, so that a state does not flicker."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

from rm_monitor.stats.look import Look

__all__ = ["Standing"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where a run stands after one look.

    An alarm, or a warning that fresh prompts confirmed, starts *degraded*. It ends on evidence alone: with a
    new best, or when the fall is no longer seen at the lenient level of a warning *and* the paired interval
    of the change since the best reaches 0. Then the run is *recovered* until the next best. That a look
    shows nothing is no evidence: it may have had no power.

    Attributes:
        alarm: The look, judged at the alarm's rate.
        warning: The same look at the rate of warnings.
        degraded: An alarm is in force.
        warned: No alarm is, but this look warns.
        recovered: An alarm was in force, and there has been no new best since.
        is_best: This evaluation is the best so far.
        is_level: It is not measurably below the best: the paired interval of the change reaches 0.
        since: Step at which the present warning or alarm began; None without one.
        ended: Step at which the last alarm ended.
        consecutive: Looks in a row, this one included, that raised the alarm themselves.

    Example:
        >>> fell, fine = Look(flagged=True, p=0.01), Look(p=0.6)
        >>> run = Standing().then(0, fine, fine, is_best=True)
        >>> run = run.then(100, fell, fell, is_best=False, is_level=False)
        >>> run.degraded, run.since, run.then(200, fine, fine, is_best=False, is_level=False).degraded
        (True, 100, True)
        >>> run.then(200, fine, fine, is_best=False, is_level=True).recovered
        True
    """

    alarm: Look = field(default_factory=Look)
    warning: Look = field(default_factory=Look)
    degraded: bool = False
    warned: bool = False
    recovered: bool = False
    is_best: bool = False
    is_level: bool = True
    since: int | None = None
    ended: int | None = None
    consecutive: int = 0

    def then(
        self,
        step: int,
        alarm: Look,
        warning: Look,
        *,
        is_best: bool,
        is_level: bool = True,
        confirmed: bool = False,
    ) -> Standing:
        """Where the run stands one look later.

        Args:
            step: Of that look.
            alarm: Judged at the alarm's rate.
            warning: Judged at the rate of warnings.
            is_best: It is the best so far.
            is_level: The paired interval of the change since the best reaches 0.
            confirmed: It warned, and fresh prompts confirmed the fall: that is an alarm.
        """
        if not math.isfinite(alarm.p):  # nothing could be compared: this look changes nothing
            return replace(self, alarm=alarm, warning=warning, is_best=is_best, is_level=is_level)
        raised = alarm.flagged or confirmed
        back = is_best or (is_level and not warning.flagged)
        degraded = raised or (self.degraded and not back)
        warned = warning.flagged and not degraded and not (self.degraded and is_best)
        ended = step if self.degraded and not degraded else self.ended
        same = (degraded and self.degraded) or (warned and self.warned)
        return Standing(
            alarm=alarm,
            warning=warning,
            degraded=degraded,
            warned=warned,
            recovered=not degraded and (ended == step or (self.recovered and not is_best)),
            is_best=is_best,
            is_level=is_level or is_best,
            since=(self.since if same else step) if degraded or warned else None,
            ended=ended,
            consecutive=self.consecutive + 1 if raised else 0,
        )
