"""Where a run stands after a row of looks: alarms with hysteresis, so that a state does not flicker."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

from rm_monitor.stats.look import Look

__all__ = ["Standing"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where a run stands after one look.

    An alarm, or a warning that fresh prompts confirmed, starts *degraded*. It ends when the fall is no longer
    seen at the lenient level of a warning, or with a new best; then the run is *recovered* until the next
    best.

    Attributes:
        alarm: The look, judged at the alarm's rate.
        warning: The same look at the rate of warnings.
        degraded: An alarm is in force.
        warned: No alarm is, but this look warns.
        recovered: An alarm was in force, and there has been no new best since.
        is_best: This evaluation is the best so far.
        since: Step at which the present warning or alarm began; None without one.
        ended: Step at which the last alarm ended.
        consecutive: Looks in a row, this one included, that raised the alarm themselves.

    Example:
        >>> fell, fine = Look(flagged=True, p=0.01), Look(p=0.6)
        >>> run = Standing().then(0, fine, fine, is_best=True).then(100, fell, fell, is_best=False)
        >>> run.degraded, run.since, run.then(200, fine, fine, is_best=False).recovered
        (True, 100, True)
    """

    alarm: Look = field(default_factory=Look)
    warning: Look = field(default_factory=Look)
    degraded: bool = False
    warned: bool = False
    recovered: bool = False
    is_best: bool = False
    since: int | None = None
    ended: int | None = None
    consecutive: int = 0

    def then(
        self, step: int, alarm: Look, warning: Look, *, is_best: bool, confirmed: bool = False
    ) -> Standing:
        """Where the run stands one look later.

        Args:
            step: Of that look.
            alarm: Judged at the alarm's rate.
            warning: Judged at the rate of warnings.
            is_best: It is the best so far.
            confirmed: It warned, and fresh prompts confirmed the fall: that is an alarm.
        """
        if not math.isfinite(alarm.p):  # nothing could be compared: this look changes nothing
            return replace(self, alarm=alarm, warning=warning, is_best=is_best)
        raised = alarm.flagged or confirmed
        degraded = raised or (self.degraded and warning.flagged and not is_best)
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
            since=(self.since if same else step) if degraded or warned else None,
            ended=ended,
            consecutive=self.consecutive + 1 if raised else 0,
        )
