"""Where a hand-written loop stands: does it go on with the run in its folder, or begin again?"""

from __future__ import annotations

from pathlib import Path

from rm_monitor.monitor.quietly import say
from rm_monitor.monitor.run import Run
from rm_monitor.records.history import History
from rm_monitor.types.checks import whole

__all__ = ["goes_back", "resumes_from"]


def goes_back(run: Run, step: int, seen: int | None) -> bool:
    """Whether a loop begins again: at an earlier step than it was, or than a run that has ended.

    Args:
        run: The present or last run.
        step: Where the loop is now.
        seen: Where it was when it called last; None: it has not called since the run began.
    """
    ended = run.state == "closed"
    last = run.last_step if seen is None or ended else seen
    return last is not None and (step < last or (ended and step == last))


def resumes_from(folder: Path, step: int) -> int | None:
    """The step after which the curve in a folder goes on; None: what the loop begins is a fresh run.

    A loop that goes on in a folder whose curve began before this step resumes it: points from this step on
    are superseded. A loop that starts at or before the first point of that curve begins afresh.

    Args:
        folder: Where our files lie.
        step: The first step that the loop asks about.

    Raises:
        ValueError: If it is no step, as where the model was given first.
    """
    whole("step", step, "the number of the optimizer step: monitor.step(step, model, tokenizer)", at_least=0)
    judged = [point.step for point in History.read_bare(folder)]
    if not judged or judged[0] >= step:
        return None
    say(f"rm_monitor: the run in {folder} goes on after step {max(s for s in judged if s < step)}")
    return step - 1
