"""Follow a job until it ends: look, judge what is ready, wait, look again."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

from rm_monitor.monitor.config import MonitorConfig
from rm_monitor.monitor.monitor import RewardMonitor
from rm_monitor.sweep.discover import Source
from rm_monitor.sweep.run import Swept
from rm_monitor.sweep.watcher import Watcher

__all__ = ["Ending", "watch", "watch_in_own_run"]


class Ending:
    """When a watch is over, besides the Trainer's own word that training ended.

    Args:
        until: A step: judged or passed, the watch ends.
        pid: A process on this machine: it is over when the process is, and everything is judged.
        idle: Seconds without a new checkpoint.
    """

    def __init__(
        self, *, until: int | None = None, pid: int | None = None, idle: float | None = None
    ) -> None:
        self.until, self.pid, self.idle = until, pid, idle

    def __str__(self) -> str:
        """What it waits for, to stand after "until"."""
        waits = ["the Trainer says that training ended"]
        waits += [] if self.until is None else [f"step {self.until} is judged"]
        waits += [] if self.pid is None else [f"process {self.pid} has ended"]
        waits += [] if self.idle is None else [f"nothing new comes for {self.idle / 60:g} min"]
        return ", or ".join(waits)

    def reached(self, newest: int | None, *, last: bool, quiet: float) -> str:
        """Why there is nothing more to wait for, everything on disk being judged; empty: there is.

        Args:
            newest: Highest step seen.
            last: The Trainer says that training ended there.
            quiet: Seconds since something new was seen.
        """
        if last:
            return f"the Trainer says that training ended at step {newest}"
        if self.until is not None and newest is not None and newest >= self.until:
            return f"step {newest} is judged, and --until is {self.until}"
        if self.pid is not None and not _is_alive(self.pid):
            return f"process {self.pid} has ended"
        if self.idle is not None and quiet >= self.idle:
            return f"nothing new came for {quiet / 60:.3g} min"
        return ""


def watch(
    source: Source,
    config: MonitorConfig,
    *,
    ending: Ending | None = None,
    poll: float = 30.0,
    rest: float = 10.0,
    pre_rotation: bool = False,
    monitor: RewardMonitor | None = None,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
    tell: Callable[[str], None] = lambda line: None,
) -> tuple[RewardMonitor, Swept]:
    """Follow a job until it ends, its last checkpoint judged.

    Args:
        source: Where checkpoints come from.
        config: What to judge with.
        ending: When it is over; the Trainer's own word that training ended always counts.
        poll: Seconds between looks.
        rest: Seconds without a change before a checkpoint is read.
        pre_rotation: See `Watcher`.
        monitor: A monitor to use instead of building one.
        sleep: How to wait.
        clock: Seconds that never go back.
        tell: Is given a line when the watch begins, when all that is there is judged, and when it ends.
    """
    if poll <= 0:
        raise ValueError(f"`poll` is the seconds between looks and must be more than 0, got {poll}")
    ending = ending or Ending()
    there = len(source.discover())  # a folder that is not there is refused before a judge is loaded
    tell(f"watching {source.folder}, checkpoints there: {there}; a look every {poll:g} s until {ending}")
    watcher = Watcher(source, config, rest=rest, pre_rotation=pre_rotation, monitor=monitor, clock=clock)
    told: object = "nothing yet"
    while True:
        waiting = watcher.look()
        quiet = clock() - watcher.changed
        why = "" if waiting else ending.reached(watcher.newest, last=watcher.last, quiet=quiet)
        if why:
            tell(f"ended: {why}; checkpoints judged here: {len(watcher.swept.judged)}")
            return watcher.monitor, watcher.swept
        if not waiting and told != watcher.newest:
            told = watcher.newest
            tell("no checkpoint yet" if told is None else f"step {told} is judged; waiting for the next")
        sleep(poll)


def watch_in_own_run(
    source: Source, config: MonitorConfig, *, group: str | None = None, **options: Any
) -> tuple[RewardMonitor, Swept]:
    """`watch` with a W&B run of its own, if the settings report there.

    The training job's run belongs to the training job: two processes that log to one run drop each other's
    rows. In the same group the two lie side by side, on the same axis.

    Args:
        source: Where checkpoints come from.
        config: What to judge with.
        group: The training run's group; None: ``WANDB_RUN_GROUP``, or the folder's name.
        **options: As `watch` takes them.
    """
    asked = config.report_to or []
    if "wandb" not in ([asked] if isinstance(asked, str) else asked):
        return watch(source, config, **options)
    import wandb  # noqa: PLC0415  only when asked for

    name = source.folder.resolve().name
    with wandb.init(
        name=f"rm-monitor {name}",
        group=group or os.environ.get("WANDB_RUN_GROUP") or name,
        job_type="monitor",
    ):
        return watch(source, config, **options)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
