"""The Trainer's best model and our best are one, where the user leaves it to us.

The Trainer picks its best by a key of the metrics of an evaluation; ours is the pool score, which can call a
lower reading better. So that both agree, the comparison the Trainer is about to do is made to come out as
ours. A failed evaluation is never a reading: it is no improvement and no step back, for anyone.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from rm_monitor.monitor.host import Host
from rm_monitor.types import Best, EvalPoint, Verdict

__all__ = ["SelectBest", "Steering", "asked_for"]

log = logging.getLogger("rm_monitor")

SelectBest = Literal["auto", True, False]
_STEPPED_BY_METRICS = ("ReduceLROnPlateau", "GreedyLR")


def asked_for(args: Any) -> str:
    """The key of the Trainer's best-model metric, as it looks it up; empty if there is none."""
    name = args.metric_for_best_model or ""
    return name if not name or name.startswith("eval_") else f"eval_{name}"


class Steering:
    """What the Trainer is told of one run.

    Args:
        select_best: As `RewardMonitorCallback` takes it.
        metric: The headline.
        name: Of the monitor, where a trainer has several.
    """

    def __init__(self, select_best: SelectBest, metric: str, name: str) -> None:
        self.prefix = f"eval_rm_{name}_" if name else "eval_rm_"
        self.steers = False
        self._has_metric = True  # ``state.best_metric`` is of our headline
        self._select_best = select_best
        self._metric = metric
        self._last: dict[str, float] = {}  # key -> the last number that the Trainer was given

    def begin(self, args: Any, folder: Path) -> None:
        """Decide whether our best is the Trainer's; said where it is not, or where rotation keeps only it."""
        self._last.clear()
        if self._select_best is False:
            return
        own, headline = asked_for(args), f"{self.prefix}{self._metric}"
        self._has_metric = own in ("", headline) or self._select_best is True
        # a metric that a host fills in, and nothing selects by, is no choice of the user's
        selects = bool(args.load_best_model_at_end) or str(getattr(args.save_strategy, "value", "")) == "best"
        if selects and not self._has_metric:
            log.warning(
                "metric_for_best_model=%r is left alone: the Trainer selects by it, and rm_monitor keeps its "
                "own best in %s/best. Use metric_for_best_model='%s' to select by the monitor.",
                args.metric_for_best_model,
                folder,
                headline.removeprefix("eval_"),
            )
            return
        self.steers = True
        if args.save_total_limit == 1:
            log.warning(
                "save_total_limit=1 and a best model: at the end the Trainer deletes the last checkpoint "
                "and keeps only the best one. Use 2 or more to keep both."
            )

    def is_ours(self, key: str) -> bool:
        """Whether a key of the Trainer's metrics is one of this monitor's."""
        return key.startswith(self.prefix)

    # ------------------------------------------------------------------ numbers

    def values(self, point: EvalPoint | None, verdict: Verdict, asked: str) -> dict[str, float]:
        """What the Trainer is shown of a point: the headline, the win rate, the flag, and what was asked for.

        Numbers that are unknown are left out.
        """
        if point is None or point.status not in ("ok", "partial"):
            return {}
        metrics = {f"{self.prefix}{name}": float(e.value) for name, e in point.metrics.items()}
        shown = {f"{self.prefix}{self._metric}", f"{self.prefix}win_rate", asked}
        found = {key: x for key, x in metrics.items() if key in shown and math.isfinite(x)}
        found[f"{self.prefix}degraded"] = float(verdict.state == "degraded")
        self._last.update(found)
        return found

    def carried(self, asked: str, args: Any, host: Host, scheduler: Any) -> dict[str, float]:
        """The asked-for key of an evaluation that gave no number, so that nothing is stopped or cut by it.

        The Trainer needs the key: the last number again is no new best. A scheduler that is about to be
        stepped by it is not: it would count an evaluation without improvement.
        """
        worst = -math.inf if args.greater_is_better is not False else math.inf
        if host.steps_scheduler and type(scheduler).__name__ in _STEPPED_BY_METRICS:
            _skip_once(scheduler)
        return {asked: self._last.get(asked, worst)}

    # ------------------------------------------------------------------ the Trainer's state

    def agree(self, state: Any, metrics: Mapping[str, float], best: Best | None) -> None:
        """Make the comparison that the Trainer is about to do come out as ours.

        It takes the new value as best if it is above ``state.best_metric``. An `EarlyStoppingCallback` reads
        the same number.
        """
        value = metrics.get(f"{self.prefix}{self._metric}")
        if not (self.steers and self._has_metric) or value is None:
            return
        if best is not None and best.step == state.global_step:
            if state.best_metric is not None and not value > state.best_metric:
                state.best_metric = None
        elif math.isfinite(value):
            state.best_metric = max(value, -math.inf if state.best_metric is None else state.best_metric)

    def mark(self, state: Any, best: Best | None, output_dir: Path) -> None:
        """Write our best into the Trainer's state: it protects it from rotation and loads it at the end."""
        if not self.steers or best is None or best.step == 0:
            return
        folder = output_dir / f"checkpoint-{best.step}"
        where = folder if folder.is_dir() else best.checkpoint
        if where is None:
            return
        self.take(state, best)
        state.best_model_checkpoint = str(where)

    def take(self, state: Any, best: Best) -> None:
        """Our new best is the Trainer's, before it is saved."""
        if self.steers:
            state.best_global_step = best.step
        if self.steers and self._has_metric:
            state.best_metric = float(best.value.value)


def _skip_once(scheduler: Any) -> None:
    """Let the next ``scheduler.step`` do nothing: there is no number to step by."""
    own = vars(scheduler).get("step")

    def restore(*args: Any, **kwargs: Any) -> None:
        if own is None:
            del scheduler.step
        else:
            scheduler.step = own

    scheduler.step = restore
